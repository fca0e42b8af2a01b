//! The one row of `state`: the last number given, the revisions, the newest record's time.

use super::StoreError;
use super::cells::Cells;
use super::connection::Connection;
use super::engine::Engine;
use super::row::Row;
use super::snapshot::Revisions;
use super::statement::{On, Statement};
use crate::time::Time;

/// `state` as it stood when this transaction took its lock. Numbers are given out of it, and
/// [`State::save`] writes it back.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) number: i64,
    pub(super) revisions: Revisions,
    pub(super) newest_at: Option<Time>,
    pub(super) only_authority: Option<[u8; 32]>,
    /// The database's own clock, where it has one.
    pub(super) database_time: Option<Time>,
}

impl State {
    /// The first statement of every transaction that writes. It changes nothing, but it takes the
    /// row's lock, so numbers come in commit order on PostgreSQL too.
    pub(super) async fn lock(connection: &mut Connection) -> Result<Self, StoreError> {
        let mut update = Statement::new(
            "UPDATE state SET number = number WHERE id = 1 RETURNING id, number, policy_revision, \
             token_revision, blocked_key_revision, newest_at, only_authority, ",
        );
        update.push(connection.engine().time()).push(" AS database_time");
        Self::read(update.optional(connection).await?)
    }

    /// As it stands, without a lock.
    pub(super) async fn load<'e>(engine: Engine, on: impl Into<On<'e>>) -> Result<Self, StoreError> {
        let mut select = Statement::new(
            "SELECT id, number, policy_revision, token_revision, blocked_key_revision, newest_at, \
             only_authority, ",
        );
        select.push(engine.time()).push(" AS database_time FROM state WHERE id = 1");
        Self::read(select.optional(on).await?)
    }

    /// The next number in commit order.
    pub(super) fn next_number(&mut self) -> i64 {
        self.number = self.number.saturating_add(1);
        self.number
    }

    pub(super) async fn save(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let mut update = Statement::new("UPDATE state SET number = ");
        update.bind(self.number);
        update.push(", policy_revision = ").bind(self.revisions.policy);
        update.push(", token_revision = ").bind(self.revisions.tokens);
        update.push(", blocked_key_revision = ").bind(self.revisions.blocked_keys);
        update.push(", newest_at = ").bind(self.newest_at.map(Time::unix));
        update.push(", only_authority = ").bind(self.only_authority.as_ref());
        update.push(" WHERE id = 1");
        update.execute(connection).await?;
        Ok(())
    }

    fn read(row: Option<Row>) -> Result<Self, StoreError> {
        let row = row.ok_or_else(|| StoreError::Corrupt("state: its one row is not there".to_owned()))?;
        let cells = Cells::new(&row, "state", "id");
        Ok(Self {
            number: cells.integer("number")?,
            revisions: Revisions {
                policy: cells.integer("policy_revision")?,
                tokens: cells.integer("token_revision")?,
                blocked_keys: cells.integer("blocked_key_revision")?,
            },
            newest_at: cells.optional_time("newest_at")?,
            only_authority: cells.optional_octets("only_authority")?,
            database_time: cells.optional_time("database_time")?,
        })
    }
}

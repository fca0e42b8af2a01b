//! The CAs that sign into this ledger, and for which clusters.

use std::collections::HashMap;

use super::StoreError;
use super::cells::Cells;
use super::connection::Connection;
use super::names::name_id;
use super::state::State;
use super::statement::Statement;
use crate::time::Time;

impl super::Store {
    /// Notes that the CA (known by the SHA-256 of its SPKI, with its certificate as DER) signs for
    /// `cluster`. Done at each start; what is noted already stays as it is. A cluster may get a new
    /// CA: the ledger keeps both.
    ///
    /// # Errors
    /// `Conflict` where the database is bound to another CA.
    pub async fn register_authority(
        &self,
        cluster: &str,
        spki_sha256: [u8; 32],
        certificate: &[u8],
        now: Time,
    ) -> Result<(), StoreError> {
        let (cluster, certificate) = (cluster.to_owned(), certificate.to_vec());
        self.change(move |connection| {
            Box::pin(async move { register(connection, &cluster, &spki_sha256, &certificate, now).await })
        })
        .await
    }

    /// Whether a CA ever signed here for a cluster of this name.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn knows_cluster(&self, cluster: &str) -> Result<bool, StoreError> {
        let mut select = Statement::new(
            "SELECT n.id FROM names n JOIN cluster_authorities a ON a.cluster_id = n.id WHERE n.name = ",
        );
        select.bind(cluster).push(" LIMIT 1");
        Ok(select.optional(&self.connections().readers).await?.is_some())
    }

    /// Marks the database so that only this CA may ever sign into it.
    ///
    /// # Errors
    /// `Conflict` where it is bound to another CA, or another has signed into it.
    pub async fn bind_to_authority(&self, spki_sha256: [u8; 32]) -> Result<(), StoreError> {
        self.change(move |connection| Box::pin(bind(connection, spki_sha256))).await
    }
}

/// The numbers of all registered CAs, by the SHA-256 of their SPKI. There are few.
pub(super) async fn ids(connection: &mut Connection) -> Result<HashMap<[u8; 32], i64>, StoreError> {
    let rows = Statement::new("SELECT id, spki_sha256 FROM authorities").all(connection).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells::new(row, "authorities", "id");
            Ok((cells.octets("spki_sha256")?, cells.integer("id")?))
        })
        .collect()
}

pub(super) fn bound_to_another() -> StoreError {
    StoreError::Conflict(
        "this database takes one CA only, and this is another: give it a database of its own".to_owned(),
    )
}

async fn register(
    connection: &mut Connection,
    cluster: &str,
    spki_sha256: &[u8; 32],
    certificate: &[u8],
    now: Time,
) -> Result<(), StoreError> {
    let state = State::lock(connection).await?;
    if state.only_authority.is_some_and(|only| only != *spki_sha256) {
        return Err(bound_to_another());
    }
    let mut insert =
        Statement::new("INSERT INTO authorities (spki_sha256, certificate, registered_at) VALUES ");
    insert.tuples([[spki_sha256.into(), certificate.into(), now.into()]]);
    insert.push(" ON CONFLICT (spki_sha256) DO NOTHING");
    insert.execute(&mut *connection).await?;
    let cluster_id = name_id(connection, cluster).await?;
    let mut insert =
        Statement::new("INSERT INTO cluster_authorities (cluster_id, authority_id, registered_at) SELECT ");
    insert.bind(cluster_id).push(", id, ").bind(now).push(" FROM authorities WHERE spki_sha256 = ");
    insert.bind(spki_sha256).push(" ON CONFLICT (cluster_id, authority_id) DO NOTHING");
    insert.execute(connection).await?;
    Ok(())
}

async fn bind(connection: &mut Connection, spki_sha256: [u8; 32]) -> Result<(), StoreError> {
    let mut state = State::lock(connection).await?;
    if state.only_authority == Some(spki_sha256) {
        return Ok(());
    }
    let others = ids(connection).await?.into_keys().any(|known| known != spki_sha256);
    if others || state.only_authority.is_some() {
        return Err(bound_to_another());
    }
    state.only_authority = Some(spki_sha256);
    state.save(connection).await
}

//! The ledger on a real database of its own: on SQLite, or on the PostgreSQL that
//! `COUNTERSIGN_TEST_POSTGRES` names. What is SQLite's own runs on SQLite either way; what is
//! PostgreSQL's own is in `postgres` and needs the variable.

mod append_only;
mod changes;
mod identities;
mod limits;
mod lost_answer;
mod migrating;
mod opening;
mod paging;
mod plans;
mod postgres;
mod recording;
mod requests;
mod retention;
mod rules;
#[path = "../../../tests/support/postgres.rs"]
mod server;
mod size;
pub(super) mod statements;
mod tokens;
mod writing;

use std::net::IpAddr;

use super::policies::PolicyChange;
use super::search::Search;
use super::statement::Statement;
use super::tokens::{Rotated, Rotation, TokenRecord};
use super::*;
use crate::audit::{Origin, RequestId};
use crate::ca::Signed;
use crate::pki::csr::CertRequest;
use crate::pki::key::KeyKind;
use crate::pki::name::{Name, ShortName};
use crate::pki::serial::Serial;
use crate::policy::{Approved, Ask};
use crate::time::Lifetime;
use server::TestDatabase;

/// 2026-06-01T09:00:00Z.
const NOW: Time = Time::from_unix(1_780_304_400);

/// The CA that every ledger of these tests knows.
const CA: [u8; 32] = [0xca; 32];

/// An open ledger with a database of its own.
struct Ledger {
    store: Store,
    place: Place,
}

/// Where a ledger of these tests is; gone with it.
enum Place {
    Folder(tempfile::TempDir),
    Database(TestDatabase),
}

impl std::ops::Deref for Ledger {
    type Target = Store;
    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Place {
    async fn new() -> Self {
        match server::server() {
            None => Self::Folder(tempfile::tempdir().unwrap()),
            Some(server) => Self::Database(TestDatabase::copy_of_prepared(server, prepare).await),
        }
    }

    fn settings(&self) -> StoreSettings {
        match self {
            Self::Folder(folder) => settings(folder.path()),
            Self::Database(database) => postgres_settings(&database.url()),
        }
    }

    fn folder(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder.path(),
            Self::Database(_) => panic!("a database has no folder"),
        }
    }
}

impl Ledger {
    /// Knows the CA, for the clusters `prod` and `test`.
    async fn new() -> Self {
        Self::at(Place::new().await).await
    }

    /// The same on SQLite, for what is SQLite's own.
    async fn on_sqlite() -> Self {
        Self::at(Place::Folder(tempfile::tempdir().unwrap())).await
    }

    async fn at(place: Place) -> Self {
        let store = Store::open(&place.settings()).await.unwrap();
        for cluster in ["prod", "test"] {
            store.register_authority(cluster, CA, b"ca", NOW).await.unwrap();
        }
        Self { store, place }
    }

    /// A second store on the same database, as a command beside the server or another replica has it.
    async fn beside(&self) -> Store {
        Store::open(&self.place.settings()).await.unwrap()
    }

    fn is_sqlite(&self) -> bool {
        matches!(self.place, Place::Folder(_))
    }

    /// Runs SQL on the writer's own connection.
    async fn run(&self, sql: &'static str) -> Result<(), sqlx::Error> {
        self.connections().writer.acquire().await?.run(sql).await
    }

    /// Gives the database its clock back: from now on it is the server's.
    async fn with_clock(&self) {
        if !self.is_sqlite() {
            self.run(
                "CREATE OR REPLACE FUNCTION ledger_time() RETURNS BIGINT LANGUAGE sql VOLATILE \
                 AS $$ SELECT CAST(floor(extract(epoch FROM clock_timestamp())) AS BIGINT) $$",
            )
            .await
            .unwrap();
        }
    }

    async fn drop_trigger(&self, trigger: &str, table: &str) {
        let on = if self.is_sqlite() { String::new() } else { format!(" ON {table}") };
        let drop = format!("DROP TRIGGER {trigger}{on}");
        self.connections().writer.acquire().await.unwrap().run_text(&drop).await.unwrap();
    }

    /// From now on the database takes no certificate of `mallory`.
    async fn refuse_mallory(&self) {
        self.run(if self.is_sqlite() {
            "CREATE TRIGGER bad BEFORE INSERT ON certificates WHEN NEW.user_name = 'mallory' \
             BEGIN SELECT RAISE(ABORT, 'a bad row'); END"
        } else {
            "CREATE TRIGGER bad BEFORE INSERT ON certificates FOR EACH ROW WHEN (NEW.user_name = 'mallory') \
             EXECUTE FUNCTION refuse_change('a bad row')"
        })
        .await
        .unwrap();
    }

    /// Takes back [`Self::refuse_mallory`].
    async fn admit_mallory(&self) {
        let drop = if self.is_sqlite() { "DROP TRIGGER bad" } else { "DROP TRIGGER bad ON certificates" };
        self.run(drop).await.unwrap();
    }

    /// Records in a task of its own.
    fn recording(&self, sample: Sample<'_>) -> tokio::task::JoinHandle<Result<Recorded, RecordError>> {
        let (store, issuance) = (self.store.clone(), sample.build());
        tokio::spawn(async move { store.record(issuance).await })
    }

    /// Waits until so many records are in the queue and not in the writer's hands.
    async fn queued(&self, count: usize) {
        for _ in 0..10_000 {
            if self.queue_length() == count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!("{} records are in the queue, not {count}", self.queue_length());
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let row = Statement::new(sql).optional(&self.connections().readers).await.unwrap();
        row.unwrap().at(0).unwrap()
    }

    /// The search for `filter`, its times turned into numbers.
    async fn search<'f>(&self, filter: &'f CertificateFilter) -> Search<'f> {
        let mut connection = self.connections().readers.acquire().await.unwrap();
        filter.timed_search(&mut connection).await.unwrap()
    }

    async fn all(&self) -> Vec<Recorded> {
        self.certificates(&CertificateFilter::default(), everything()).await.unwrap()
    }
}

fn settings(folder: &Path) -> StoreSettings {
    StoreSettings::Sqlite(folder.join("ledger.db"))
}

fn postgres_settings(url: &str) -> StoreSettings {
    StoreSettings::parse(url, None, Path::new("/")).unwrap()
}

/// Makes the schema, and takes the clock out of it: the times of these tests stand still.
async fn prepare(url: &str) {
    Store::open(&postgres_settings(url)).await.unwrap().close().await;
    server::execute(url, WITHOUT_CLOCK).await;
}

const WITHOUT_CLOCK: &str =
    "CREATE OR REPLACE FUNCTION ledger_time() RETURNS BIGINT LANGUAGE sql AS 'SELECT CAST(NULL AS BIGINT)'";

fn everything() -> Page {
    Page { before: None, limit: 1_000_000 }
}

fn origin(caller: &str) -> Origin {
    Origin {
        caller: caller.to_owned(),
        caller_groups: vec!["group:corp:sre".to_owned()],
        request_id: RequestId([7; 16]),
        client_request_id: Some("trace-1".to_owned()),
        address: Some("203.0.113.7".parse::<IpAddr>().unwrap()),
    }
}

/// A wish to record, with everything that a test may want to be otherwise.
struct Sample<'s> {
    user: &'s str,
    groups: &'s [&'s str],
    cluster: &'s str,
    caller: &'s str,
    on_behalf_of: Option<&'s str>,
    rows: &'s [&'s str],
    serial: u64,
    authority: [u8; 32],
    at: Time,
    lifetime: u32,
    seen: Revisions,
    idempotency: Option<(&'s str, u8)>,
    allowance: Allowance,
    request: Option<CertRequest>,
    collects: Option<HeldId>,
    der: Vec<u8>,
}

/// `alice` with its own serial and key.
fn sample<'s>(serial: u64) -> Sample<'s> {
    Sample {
        user: "alice",
        groups: &["dev"],
        cluster: "prod",
        caller: "token:portal",
        on_behalf_of: None,
        rows: &["developers"],
        serial,
        authority: CA,
        at: NOW,
        lifetime: 3_600,
        seen: Revisions::default(),
        idempotency: None,
        allowance: Allowance::default(),
        request: None,
        collects: None,
        der: serial.to_be_bytes().to_vec(),
    }
}

fn serial(number: u64) -> Serial {
    let mut octets = [0; 16];
    octets[8..].copy_from_slice(&number.to_be_bytes());
    Serial::from_random(octets)
}

impl Sample<'_> {
    fn build(self) -> Issuance {
        let request =
            self.request.unwrap_or_else(|| CertRequest::for_tests(self.user, self.groups, KeyKind::P256));
        let ask = Ask {
            cluster: ShortName::parse(self.cluster).unwrap(),
            request,
            ttl: Some(Lifetime::from_seconds(self.lifetime)),
            on_behalf_of: self.on_behalf_of.map(|name| Name::parse(name).unwrap()),
        };
        let not_after = self.at.after(Lifetime::from_seconds(self.lifetime));
        let revision = self.seen.policy;
        let approved =
            Approved::for_tests(ask, self.at.before(300), not_after).decided_by(revision, self.rows);
        Issuance {
            signed: Signed::for_tests(approved, serial(self.serial), self.der, self.authority),
            at: self.at,
            origin: origin(self.caller),
            reason: Some("on call".to_owned()),
            allowance: self.allowance,
            seen: self.seen,
            idempotency: self
                .idempotency
                .map(|(key, print)| Idempotency { key: key.to_owned(), fingerprint: [print; 32] }),
            renews: None,
            collects: self.collects.map(|id| Collects { id, own: Own::always(self.caller.to_owned()) }),
            proof: None,
        }
    }
}

fn token(name: &str) -> TokenRecord {
    TokenRecord {
        id: format!("id-{name}"),
        name: ShortName::parse(name).unwrap(),
        secret_sha256: [5; 32],
        roles: vec!["requester".to_owned(), "auditor".to_owned()],
        on_behalf_of: true,
        owner: "platform team".to_owned(),
        created_at: NOW,
        expires_at: NOW.after(Lifetime::MOST),
        revoked_at: None,
        replaced: false,
        last_used_at: None,
    }
}

/// The secret `id`, made at `at`; it lasts for a day, and the one before for an hour.
fn rotation(id: &str, at: Time) -> Rotation {
    Rotation {
        id: id.to_owned(),
        secret_sha256: [6; 32],
        at,
        expires_at: at.after(Lifetime::from_seconds(86_400)),
        previous_until: at.after(Lifetime::from_seconds(3_600)),
    }
}

fn refusal() -> RefusalToRecord {
    RefusalToRecord {
        at: NOW,
        origin: origin("token:portal"),
        cluster: Some("prod".to_owned()),
        user: Some("mallory".to_owned()),
        groups: vec!["ops".to_owned(), "ops".to_owned()],
        on_behalf_of: None,
        proof: None,
        reason: None,
        key_kind: Some("p-256".to_owned()),
        spki_sha256: Some([9; 32]),
        asked_ttl: Some(Lifetime::from_seconds(600)),
        code: "policy_denied".to_owned(),
        detail: "the policy allows this caller none of: group ops".to_owned(),
        violations: serde_json::json!([{ "claim": "group", "value": "ops" }]),
        policy_revision: 0,
        policies: vec!["no-ops".to_owned()],
        seen: Revisions::default(),
    }
}

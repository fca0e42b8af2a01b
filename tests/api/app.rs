//! The service under test, and its callers as values.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use countersign::app::{App, ClusterSettings, FailureLimits, RateLimits, RefusalLimits, ReviewLimits};
use countersign::audit::{Origin, RequestId};
use countersign::auth::AuthSettings;
use countersign::auth::token::{self, Hold};
use countersign::ca::throw_away;
use countersign::caller::Caller;
use countersign::clock::Clock;
use countersign::http::{Api, BodyTime, Door, Peer};
use countersign::metrics::Metrics;
use countersign::pki::name::ShortName;
use countersign::policy::file::PolicyFile;
use countersign::store::tokens::{Rotated, Rotation, TokenRecord};
use countersign::store::{Store, StoreSettings};
use countersign::time::{Lifetime, Time};
use countersign::tls::{ClientAuthorities, ClientCertificate};
use http_body_util::BodyExt as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::company::Company;
use crate::database::sqlite;
use crate::openapi;
use crate::postgres::{self, TestDatabase};

/// 2026-06-01T09:00:00Z, the moment at which every test begins.
pub const NOON: Time = Time::from_unix(1_780_304_400);

/// What most tests run under.
pub const POLICIES: &str = r#"
policies:
  - { name: people, effect: allow, clusters: ["*"], callers: ["token:alice", "token:bob"], users: ["{caller}"], groups: ["dev", "team-*"], max_ttl: 8h }
  - { name: portal, effect: allow, clusters: [prod], callers: ["token:portal"], on_behalf_of: ["*"], users: ["{on_behalf_of}"], groups: [dev] }
  - { name: no-admins, effect: deny, clusters: ["*"], callers: ["token:*"], users: ["*"], groups: [admins], explain: true }
"#;

/// What a service under test is limited to.
pub struct Limits {
    pub refusals: RefusalLimits,
    pub review: ReviewLimits,
    pub rates: RateLimits,
    pub failures: FailureLimits,
}

impl Default for Limits {
    /// Those of a service, but without the wait: tests fail to authenticate many times.
    fn default() -> Self {
        Self {
            refusals: RefusalLimits::default(),
            review: ReviewLimits::default(),
            rates: RateLimits::default(),
            failures: FailureLimits { wait: Duration::ZERO, ..FailureLimits::default() },
        }
    }
}

/// A service with the clusters `prod` and `test`, in a folder of its own.
pub struct TestApp {
    pub app: Arc<App>,
    api: Api,
    pub folder: tempfile::TempDir,
    database: Option<TestDatabase>,
}

/// One caller of a [`TestApp`].
#[derive(Clone)]
pub struct Client {
    api: Api,
    authorization: Option<String>,
    certificate: Option<ClientCertificate>,
    door: Option<Door>,
    peer: Option<IpAddr>,
    headers: Vec<(String, String)>,
}

/// An answer that openapi.yaml allows.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl TestApp {
    pub async fn new() -> Self {
        Self::with_policies(POLICIES).await
    }

    /// Where this many refusals of one caller are recorded in a minute.
    pub async fn with_refusals(most: u32) -> Self {
        let refusals = RefusalLimits { burst: most.try_into().unwrap(), per_minute: NonZeroU32::MIN };
        Self::limited(Limits { refusals, ..Limits::default() }).await
    }

    pub async fn with_policies(policies: &str) -> Self {
        Self::begun_at(NOON, policies).await
    }

    /// Where this much may be asked.
    pub async fn limited(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path()).await;
        Self::on(folder, ledger, POLICIES, limits, NOON).await
    }

    /// Where so many requests of one caller may wait for people.
    pub async fn with_pending(policies: &str, pending_per_caller: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path()).await;
        let review = ReviewLimits { pending_per_caller, ..ReviewLimits::default() };
        Self::on(folder, ledger, policies, Limits { review, ..Limits::default() }, NOON).await
    }

    /// A service whose clock and CAs begin at `begin`.
    pub async fn begun_at(begin: Time, policies: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path()).await;
        Self::on(folder, ledger, policies, Limits::default(), begin).await
    }

    /// A service with the cluster `prod` alone.
    pub async fn with_one_cluster() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path()).await;
        let prod = cluster(folder.path(), "prod", NOON);
        Self::with_clusters(folder, ledger, vec![prod], POLICIES, Limits::default(), NOON).await
    }

    /// A service with these clusters alone, each with the CA that signs for it.
    pub async fn signing_with(cas: &[(&str, &Company)], policies: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path()).await;
        let of = |(name, ca): &(&str, &Company)| cluster_of(folder.path(), name, ca);
        let clusters = cas.iter().map(of).collect();
        Self::with_clusters(folder, ledger, clusters, policies, Limits::default(), NOON).await
    }

    /// On SQLite, whatever the other tests run on: for what is done to the file behind its back.
    pub async fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = (StoreSettings::Sqlite(folder.path().join("ledger.db")), None);
        let refusals = RefusalLimits { burst: NonZeroU32::MAX, ..RefusalLimits::default() };
        Self::on(folder, ledger, POLICIES, Limits { refusals, ..Limits::default() }, NOON).await
    }

    async fn on(
        folder: tempfile::TempDir,
        (settings, database): (StoreSettings, Option<TestDatabase>),
        policies: &str,
        limits: Limits,
        begin: Time,
    ) -> Self {
        let clusters = ["prod", "test"].map(|name| cluster(folder.path(), name, begin)).into();
        Self::with_clusters(folder, (settings, database), clusters, policies, limits, begin).await
    }

    async fn with_clusters(
        folder: tempfile::TempDir,
        (settings, database): (StoreSettings, Option<TestDatabase>),
        clusters: Vec<ClusterSettings>,
        policies: &str,
        limits: Limits,
        begin: Time,
    ) -> Self {
        let store = Store::open(&settings).await.unwrap();
        let rows = PolicyFile::read(policies.as_bytes()).unwrap().policies;
        store.replace_policies(&rows, None, None, NOON, &operator()).await.unwrap();
        let app = App::start(clusters, store, Clock::fixed(begin), Metrics::default()).await.unwrap();
        let app = app.with_refusal_limits(limits.refusals).with_review_limits(limits.review);
        let app = app.with_rate_limits(limits.rates).with_failure_limits(limits.failures);
        let app = Arc::new(app);
        Self { api: countersign::http::router(Arc::clone(&app)), app, folder, database }
    }

    /// One that knows callers in these ways too.
    pub async fn with_auth(settings: &AuthSettings, policies: &str) -> Self {
        Self::with_ways(policies, |_| settings.clone()).await
    }

    /// The same; `settings` is given the folder for its files.
    pub async fn with_ways(policies: &str, settings: impl FnOnce(&Path) -> AuthSettings) -> Self {
        Self::with_policies(policies).await.knowing(settings)
    }

    /// This one, before it is asked anything, with these ways too.
    pub fn knowing(self, settings: impl FnOnce(&Path) -> AuthSettings) -> Self {
        let Self { app, folder, database, api } = self;
        drop(api);
        let app = Arc::into_inner(app).expect("nobody else has it");
        let ways = app.state().served.open_ways(&settings(folder.path())).unwrap();
        let app = Arc::new(app.with_ways(ways));
        Self { api: countersign::http::router(Arc::clone(&app)), app, folder, database }
    }

    /// A requester that may have its own name.
    pub async fn alice(&self) -> Client {
        self.client("alice", &["requester"], false).await
    }

    /// Another requester that may have its own name.
    pub async fn bob(&self) -> Client {
        self.client("bob", &["requester"], false).await
    }

    /// A requester that acts for people.
    pub async fn portal(&self) -> Client {
        self.client("portal", &["requester"], true).await
    }

    /// One that reads everything.
    pub async fn auditor(&self) -> Client {
        self.client("auditor", &["auditor"], false).await
    }

    /// One that changes policies.
    pub async fn admin(&self) -> Client {
        self.client("admin", &["admin"], false).await
    }

    /// One without a credential.
    pub fn nobody(&self) -> Client {
        let api = self.api.clone();
        Client { api, authorization: None, certificate: None, door: None, peer: None, headers: Vec::new() }
    }

    /// One with whatever stands in `Authorization`.
    pub fn with_authorization(&self, value: &str) -> Client {
        Client { authorization: Some(value.to_owned()), ..self.nobody() }
    }

    /// One that approves what a review row lets it.
    pub async fn approver(&self, name: &str) -> Client {
        self.client(name, &["approver"], false).await
    }

    pub async fn client(&self, name: &str, roles: &[&str], on_behalf_of: bool) -> Client {
        let owner = Caller::token(&ShortName::parse(name).unwrap()).to_string();
        self.owned(name, &owner, roles, on_behalf_of).await
    }

    /// A token that somebody else answers for.
    pub async fn owned(&self, name: &str, owner: &str, roles: &[&str], on_behalf_of: bool) -> Client {
        let end = NOON.after(Lifetime::from_seconds(90 * 86_400));
        self.until(end, name, owner, roles, on_behalf_of).await
    }

    /// A token with every role that is over at the beginning.
    pub async fn expired(&self) -> Client {
        let roles = ["requester", "auditor", "admin", "approver"];
        self.until(NOON, "expired", "token:expired", &roles, true).await
    }

    async fn until(
        &self,
        expires_at: Time,
        name: &str,
        owner: &str,
        roles: &[&str],
        on_behalf_of: bool,
    ) -> Client {
        let minted = token::mint(&countersign::random::octets().unwrap());
        let name = ShortName::parse(name).unwrap();
        let record = TokenRecord {
            id: minted.id,
            owner: owner.to_owned(),
            name,
            secret_sha256: *minted.hashed.octets(),
            roles: roles.iter().map(ToString::to_string).collect(),
            on_behalf_of,
            created_at: NOON,
            expires_at,
            revoked_at: None,
            replaced: false,
            last_used_at: None,
        };
        self.app.store.create_token(&record, &operator()).await.unwrap();
        self.app.refresh().await.unwrap();
        self.with_authorization(&format!("Bearer {}", minted.plain.expose()))
    }

    /// A token that was revoked.
    pub async fn revoke_new(&self, name: &str) -> Client {
        let client = self.client(name, &["requester"], false).await;
        self.revoke(name).await;
        self.app.refresh().await.unwrap();
        client
    }

    /// Rotates a token as the command line does: behind the service's back. The old secret goes on for
    /// so many seconds.
    pub async fn rotate(&self, name: &str, grace: u32) {
        let minted = token::mint(&countersign::random::octets().unwrap());
        let rotation = Rotation {
            id: minted.id,
            secret_sha256: *minted.hashed.octets(),
            at: NOON,
            expires_at: NOON.after(Hold::USUAL),
            previous_until: NOON.after(Lifetime::from_seconds(grace)),
        };
        let (name, seen) = (ShortName::parse(name).unwrap(), self.app.store.revisions().await.unwrap());
        let rotated = self.app.store.rotate_token(&name, &rotation, seen.tokens, &operator()).await;
        assert_eq!(rotated.unwrap(), Rotated::Done);
    }

    /// Revokes a token as the command line does: behind the service's back.
    pub async fn revoke(&self, name: &str) {
        let name = ShortName::parse(name).unwrap();
        assert_eq!(self.app.store.revoke_token(&name, NOON, &operator()).await.unwrap(), Some(true));
    }

    /// Replaces the policy set as the command line does: behind the service's back.
    pub async fn apply(&self, policies: &str) {
        let rows = PolicyFile::read(policies.as_bytes()).unwrap().policies;
        self.app.store.replace_policies(&rows, None, None, NOON, &operator()).await.unwrap();
    }

    /// From now on the database takes no certificate; with `false` it does again.
    pub async fn break_certificates(&self, broken: bool) {
        match (&self.database, broken) {
            (Some(database), true) => {
                let trigger = "CREATE TRIGGER broken BEFORE INSERT ON certificates FOR EACH ROW \
                               EXECUTE FUNCTION refuse_change('disk')";
                database.run(trigger).await;
            }
            (Some(database), false) => database.run("DROP TRIGGER broken ON certificates").await,
            (None, true) => sqlite(
                self,
                "CREATE TRIGGER broken BEFORE INSERT ON certificates BEGIN SELECT RAISE(ABORT, 'disk'); END",
            ),
            (None, false) => sqlite(self, "DROP TRIGGER broken"),
        }
    }

    /// Sets the database's clock; only PostgreSQL has one.
    pub async fn database_clock(&self, time: i64) {
        let database = self.database.as_ref().expect("PostgreSQL: `tests/postgres run cargo test` starts it");
        let body = format!("'SELECT CAST({time} AS BIGINT)'");
        database
            .run(&format!("CREATE OR REPLACE FUNCTION ledger_time() RETURNS BIGINT LANGUAGE sql AS {body}"))
            .await;
    }

    /// Moves the clock.
    pub fn at(&self, seconds_after: i64) {
        self.app.clock.set(Time::from_unix(NOON.unix() + seconds_after));
    }
}

impl Client {
    /// What stands in `Authorization`.
    pub fn authorization(&self) -> &str {
        self.authorization.as_deref().unwrap()
    }

    /// The same over TLS, with these PEM certificates shown in the handshake.
    pub fn showing(&self, pem: &str) -> Self {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        Self { certificate: ClientCertificate::new(&chain.unwrap()), ..self.clone() }
    }

    /// The same with the certificate of another.
    pub fn showing_of(&self, other: &Self) -> Self {
        Self { certificate: other.certificate.clone(), ..self.clone() }
    }

    /// The same over a listener that wants a certificate of this company.
    pub fn behind(&self, company: &Company) -> Self {
        let authorities = ClientAuthorities::read(&company.file("ca.pem")).unwrap();
        Self { door: Some(Door(Arc::new(authorities))), ..self.clone() }
    }

    /// The same with everything that `other` shows beside it; none where both show something in the same
    /// place. A header that both have is one.
    pub fn beside(&self, other: &Self) -> Option<Self> {
        let own = |name: &str| self.headers.iter().any(|(own, _)| own == name);
        let more = other.headers.iter().filter(|(name, _)| !own(name)).cloned();
        let clash = (self.authorization.is_some() && other.authorization.is_some())
            || (self.certificate.is_some() && other.certificate.is_some());
        (!clash).then(|| Self {
            authorization: self.authorization.clone().or_else(|| other.authorization.clone()),
            certificate: self.certificate.clone().or_else(|| other.certificate.clone()),
            peer: self.peer.or(other.peer),
            headers: self.headers.iter().cloned().chain(more).collect(),
            ..self.clone()
        })
    }

    /// The same with one more line in the head of every request.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same from this address.
    pub fn at_address(&self, address: &str) -> Self {
        self.from(address.parse().unwrap())
    }

    /// The same, from this address.
    pub fn from(&self, address: IpAddr) -> Self {
        Self { peer: Some(address), ..self.clone() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Vec::new()).await
    }

    /// `POST /v1/sign` with the query `query`, as curl would send a file.
    pub async fn sign(&self, query: &str, body: impl Into<Vec<u8>>) -> Answer {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.send(Method::POST, &format!("/v1/sign{query}"), &headers, body.into()).await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        self.send_body(method, path, headers, Body::from(body)).await
    }

    /// The same with a body that need not be whole; it may take a tenth of a second.
    pub async fn send_body(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Answer {
        let mut request = Request::builder().method(method.clone()).uri(path);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(headers.iter().copied()) {
            request = request.header(name, value);
        }
        let mut request = request.extension(BodyTime(Duration::from_millis(100))).body(body).unwrap();
        if let Some(certificate) = &self.certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        if let Some(door) = &self.door {
            request.extensions_mut().insert(door.clone());
        }
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(Peer(peer));
        }
        let response = self.api.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        let content_type = Some(answer.header("content-type")).filter(|kind| !kind.is_empty());
        let status = answer.status.as_u16();
        openapi::check_response(method.as_str(), &template(path), status, content_type, &answer.body);
        answer
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The body of an answer with this status, with the body in the message where it has another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.json()
    }

    /// Asserts that this is the problem `code` with `status`, and gives it back.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }
}

/// Where a test's ledger is: a file in its folder, or a database of its own on PostgreSQL.
async fn ledger(folder: &Path) -> (StoreSettings, Option<TestDatabase>) {
    let Some(server) = postgres::server() else {
        return (StoreSettings::Sqlite(folder.join("ledger.db")), None);
    };
    let settings = |url: &str| StoreSettings::parse(url, None, Path::new("/")).unwrap();
    let database = TestDatabase::copy_of_prepared(server, async |url| {
        Store::open(&settings(url)).await.unwrap().close().await;
        // The times of these tests stand still.
        let without_clock = "CREATE OR REPLACE FUNCTION ledger_time() RETURNS BIGINT LANGUAGE sql \
                             AS 'SELECT CAST(NULL AS BIGINT)'";
        postgres::execute(url, without_clock).await;
    })
    .await;
    (settings(&database.url()), Some(database))
}

/// The path of openapi.yaml that `path` is one of.
fn template(path: &str) -> String {
    let path = path.split('?').next().unwrap();
    let is = |template: &str| {
        let (mut of, mut own) = (template.split('/'), path.split('/'));
        let same = of
            .by_ref()
            .zip(own.by_ref())
            .all(|(of, own)| of == own || (of.starts_with('{') && !own.is_empty()));
        same && template.split('/').count() == path.split('/').count()
    };
    let paths = openapi::document()["paths"].as_object().unwrap();
    paths.keys().find(|template| is(template)).cloned().unwrap_or_else(|| path.to_owned())
}

/// A cluster with a CA of its own.
pub fn cluster(folder: &Path, name: &str, begin: Time) -> ClusterSettings {
    let (certificate, key) = throw_away::make(&format!("{name} CA"), begin.before(86_400)).unwrap();
    cluster_with(folder, name, &certificate, &key)
}

/// A cluster for which this one signs.
pub fn cluster_of(folder: &Path, name: &str, ca: &Company) -> ClusterSettings {
    cluster_with(folder, name, &ca.certificate(), &ca.key())
}

fn cluster_with(folder: &Path, name: &str, certificate: &str, key: &str) -> ClusterSettings {
    let write = |file: String, text: &str| {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = folder.join(file);
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        path
    };
    ClusterSettings {
        name: ShortName::parse(name).unwrap(),
        server: format!("https://{name}.example:6443"),
        server_ca: write(format!("{name}-server.crt"), certificate),
        client_ca: write(format!("{name}.crt"), certificate),
        client_ca_key: write(format!("{name}.key"), key),
        client_ca_key_password_file: None,
        namespace: None,
        default_ttl: Lifetime::from_seconds(8 * 3_600),
        max_ttl: Lifetime::from_seconds(24 * 3_600),
        reserved: vec!["oidc:".to_owned()],
        node_identities: false,
        max_renew: Lifetime::from_seconds(24 * 3_600),
        trust_group: None,
    }
}

/// The origin of changes that a test makes behind the service's back.
pub fn operator() -> Origin {
    Origin {
        caller: "cli:tester".to_owned(),
        caller_groups: Vec::new(),
        request_id: RequestId([7; 16]),
        client_request_id: None,
        address: None,
    }
}

//! A service with things of alice's in it, and callers of every kind.

use std::pin::Pin;

use axum::http::Method;
use countersign::auth::token;
use serde_json::Value;

use super::rules::Rule;
use super::ways::{self, Companies};
use crate::app::{Answer, Client, TestApp};
use crate::csr::{Key, csr};
use crate::issuer::with;
use crate::routes::renew::signed_behind_the_back;

/// Alice may have `dev`, and `ops` once carol approves. Neither bob nor dave has anything to do with it. Certificates
/// renew themselves.
const POLICIES: &str = r#"
policies:
  - { name: people, effect: allow, clusters: ["*"], callers: ["token:alice"], users: [alice], groups: [dev, ops] }
  - { name: bobs, effect: allow, clusters: ["*"], callers: ["token:bob"], users: [bob], groups: [dev] }
  - { name: renewals, effect: allow, renew: true, clusters: [prod], callers: ["cert:prod:*"], users: ["{caller}"], groups: [dev] }
  - { name: ops, effect: review, clusters: ["*"], callers: ["token:*"], users: ["*"], groups: [ops], approvers: ["token:carol"] }
"#;

/// A caller that is being made.
pub type Making<'w> = Pin<Box<dyn Future<Output = Client> + 'w>>;

pub struct World {
    pub app: TestApp,
    pub companies: Companies,
    alice: Client,
    bob: Client,
    carol: Client,
    dave: Client,
    certificate: Client,
    other_certificate: Client,
    admin: Client,
    other_admin: Client,
    pub auditor: Client,
    other_auditor: Client,
    pub never_given: Client,
    pub wrong_secret: Client,
    pub expired: Client,
    pub revoked: Client,
    pub replaced: Client,
    /// Who holds a certificate of ours that has expired, whose key is blocked, that the ledger does not have.
    pub past: Client,
    pub lost: Client,
    pub unrecorded: Client,
    /// A subject whose name was given free, and is another's now.
    pub former: Client,
    /// The header of a good token.
    pub authorization: String,
    /// The number of the last event.
    pub newest: Value,
    serial: String,
    pending: String,
    approved: String,
    blocked: String,
}

impl World {
    pub async fn new() -> Self {
        let companies = Companies::new();
        let app = TestApp::with_ways(POLICIES, |folder| companies.settings(folder)).await;
        // The name belongs to this subject from now on.
        ways::signed_in(&app, &ways::person("only-admin", &["requester"]))
            .get("/v1/whoami")
            .await
            .expect(200);
        let (alice, carol) = (app.alice().await, app.approver("carol").await);
        let (bob, dave) = (app.bob().await, app.approver("dave").await);
        let (admin, other_admin) = (app.admin().await, app.client("admin-2", &["admin"], false).await);
        let auditor = app.auditor().await;
        let other_auditor = app.client("auditor-2", &["auditor"], false).await;
        let every = &super::ROLES;
        let expired = app.expired().await;
        let revoked = app.revoke_new("revoked").await;
        let replaced = app.client("replaced", every, true).await;
        app.rotate("replaced", 0).await;
        app.at(-3_600);
        let past = alice.sign("?cluster=prod&ttl=10m", csr("/CN=alice/O=dev")).await.expect(201);
        app.at(0);
        let lost_key = Key::p256();
        let lost = alice.sign("?cluster=prod", lost_key.csr("/CN=alice/O=dev")).await.expect(201);
        let former = given_free(&app, &admin).await;
        let key = Key::p256();
        let issued = alice.sign("?cluster=prod", key.csr("/CN=alice/O=dev")).await.expect(201);
        let of_bob = bob.sign("?cluster=prod", csr("/CN=bob/O=dev")).await.expect(201);
        let showing = |issued: &Value| app.nobody().showing(issued["certificate"].as_str().unwrap());
        let (certificate, other_certificate) = (showing(&issued), showing(&of_bob));
        let (past, lost) = (showing(&past), showing(&lost));
        let unrecorded = app.nobody().showing(&signed_behind_the_back(&app, "alice"));
        alice.sign("?cluster=prod", csr("/CN=alice/O=root")).await.refused(403, "policy_denied");
        let held = async || {
            let held = alice.sign("?cluster=prod", csr("/CN=alice/O=ops")).await.expect(202);
            held["id"].as_str().unwrap().to_owned()
        };
        let (pending, approved) = (held().await, held().await);
        let path = format!("/v1/requests/{approved}/approve");
        carol.send(Method::POST, &path, &[], Vec::new()).await.expect(200);
        let blocked = "ab".repeat(32);
        for key in [&blocked, &lost_key.spki_sha256()] {
            let (path, reason) = (format!("/v1/blocked-keys/{key}"), br#"{"reason": "lost"}"#.to_vec());
            admin.send(Method::PUT, &path, &[], reason).await.expect(201);
        }
        let events = auditor.get("/v1/audit?limit=1").await.expect(200);
        let forged = forged(alice.authorization());
        Self {
            newest: events["items"][0]["number"].clone(),
            serial: issued["serial"].as_str().unwrap().to_owned(),
            never_given: app.with_authorization(&bearer(&[7; token::RANDOM_OCTETS])),
            wrong_secret: app.with_authorization(&forged),
            authorization: alice.authorization().to_owned(),
            app,
            companies,
            alice,
            bob,
            carol,
            dave,
            certificate,
            other_certificate,
            admin,
            other_admin,
            auditor,
            other_auditor,
            expired,
            revoked,
            replaced,
            past,
            lost,
            unrecorded,
            former,
            pending,
            approved,
            blocked,
        }
    }

    /// Who holds what alice was issued.
    pub fn certificate(&self) -> &Client {
        &self.certificate
    }

    /// Whose things a rule speaks of.
    pub fn owner(&self, rule: &Rule) -> &Client {
        match rule.role {
            "requester" => &self.alice,
            "approver" => &self.carol,
            "certificate" => &self.certificate,
            "auditor" => &self.auditor,
            "admin" => &self.admin,
            other => panic!("{other} is no role"),
        }
    }

    /// Another caller of the same role.
    pub fn other(&self, rule: &Rule) -> &Client {
        match rule.role {
            "requester" => &self.bob,
            "approver" => &self.dave,
            "certificate" => &self.other_certificate,
            "auditor" => &self.other_auditor,
            "admin" => &self.other_admin,
            other => panic!("{other} is no role"),
        }
    }

    /// Asks as the rule says.
    pub async fn ask(&self, client: &Client, rule: &Rule) -> Answer {
        let id = if rule.path.ends_with("/certificate") { &self.approved } else { &self.pending };
        let path = rule.path.replace("{id}", id).replace("{serial}", &self.serial);
        let path = path.replace("{spki_sha256}", &self.blocked).replace("{user}", "alice");
        let path = path.replace("{caller}", "oidc:corp:only-admin");
        let path =
            path.replace("/clusters/{name}", "/clusters/prod").replace("/tokens/{name}", "/tokens/alice");
        let path = path.replace("{name}", "people") + rule.query;
        assert!(!path.contains('{'), "{path}: say what stands for its parameter");
        let body = if rule.body == "{csr}" { csr("/CN=alice/O=dev") } else { rule.body.to_owned() };
        let headers: &[_] = if rule.if_match { &[("if-match", "*")] } else { &[] };
        let method = Method::from_bytes(rule.method.as_bytes()).unwrap();
        client.send(method, &path, headers, body.into()).await
    }

    /// Whether the rule's route wants a role that this caller has not. Nothing is changed by asking.
    pub async fn lacks_role(&self, client: &Client, rule: &Rule) -> bool {
        let answer = self.harmlessly(client, rule).await;
        assert_ne!(answer.status, 401, "{} {}: {}", rule.method, rule.path, answer.text());
        answer.status == 403 && answer.json()["code"] == "role_missing"
    }

    /// Asks so that nothing is changed, whoever it is.
    pub async fn harmlessly(&self, client: &Client, rule: &Rule) -> Answer {
        let harmless = Rule { body: "", if_match: false, ..*rule };
        let destroys = rule.method == "DELETE";
        let harmless = if destroys { Rule { query: "?no=such", ..harmless } } else { harmless };
        self.ask(client, &harmless).await
    }
}

/// A subject of the identity provider after an admin gave its name free, and another took it.
async fn given_free(app: &TestApp, admin: &Client) -> Client {
    let every = ways::person("moved", &super::ROLES);
    let (former, next) = (ways::signed_in(app, &every), ways::signed_in(app, &with(&every, "sub", "next")));
    former.get("/v1/whoami").await.expect(200);
    let path = "/v1/identities/oidc:corp:moved";
    assert_eq!(admin.send(Method::DELETE, path, &[], Vec::new()).await.status, 204);
    next.get("/v1/whoami").await.expect(200);
    former
}

fn bearer(random: &[u8; token::RANDOM_OCTETS]) -> String {
    format!("Bearer {}", token::mint(random).plain.expose())
}

/// The id of a good token, with another secret and the checksum that belongs to it.
fn forged(authorization: &str) -> String {
    let id = authorization.strip_prefix("Bearer ").unwrap().split('_').nth(1).unwrap();
    let digits: Vec<u64> = id.bytes().map(value).collect();
    let number = digits.iter().fold(0_u64, |number, digit| (number << 5) | digit) << 4;
    let mut random = [7; token::RANDOM_OCTETS];
    random[..8].copy_from_slice(&number.to_be_bytes());
    let forged = bearer(&random);
    assert_eq!(forged.split('_').nth(1), Some(id), "the same id");
    forged
}

/// What a letter of Crockford's base32 stands for.
fn value(letter: u8) -> u64 {
    u64::try_from(b"0123456789abcdefghjkmnpqrstvwxyz".iter().position(|one| *one == letter).unwrap()).unwrap()
}

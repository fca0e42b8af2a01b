//! What is recorded is never changed and never goes away, whoever holds the connection.

use super::*;
use crate::policy::PolicyRow;

/// Ways around that only SQLite has.
const SQLITE: &[(&str, &str)] = &[
    ("INSERT OR REPLACE INTO certificates SELECT * FROM certificates WHERE number = 1", "append-only"),
    ("INSERT OR REPLACE INTO refusals SELECT * FROM refusals", "append-only"),
    ("INSERT OR REPLACE INTO events SELECT * FROM events WHERE number = 1", "append-only"),
    (
        "INSERT OR REPLACE INTO certificates SELECT 9, authority_id, cluster_id, caller_id, serial, user_name, \
             groups_id, on_behalf_of, reason, key_kind, spki_sha256, 0, not_before, not_after, asked_ttl, \
             policy_revision, policies_id, sha256_head, der FROM certificates LIMIT 1",
        "append-only",
    ),
];

/// Ways around that only PostgreSQL has.
const POSTGRES: &[(&str, &str)] = &[
    (
        "INSERT INTO certificates SELECT * FROM certificates WHERE number = 2 \
         ON CONFLICT (number) DO UPDATE SET user_name = 'root'",
        "append-only",
    ),
    (
        "INSERT INTO key_owners SELECT * FROM key_owners ON CONFLICT (spki_sha256) DO UPDATE SET user_name = 'root'",
        "first user",
    ),
    (
        "INSERT INTO names SELECT * FROM names WHERE id = 1 ON CONFLICT (id) DO UPDATE SET name = 'x'",
        "never changed",
    ),
    ("TRUNCATE certificates CASCADE", "append-only"),
    ("TRUNCATE refusals CASCADE", "append-only"),
    ("TRUNCATE events CASCADE", "append-only"),
    ("TRUNCATE names CASCADE", "never deleted"),
    ("TRUNCATE name_lists CASCADE", "never deleted"),
    ("TRUNCATE name_list_members", "never deleted"),
    ("TRUNCATE authorities CASCADE", "never deleted"),
    ("TRUNCATE key_owners", "first user"),
    ("TRUNCATE policies", "never deleted"),
    ("TRUNCATE policy_revisions", "never deleted"),
    ("TRUNCATE tokens CASCADE", "never deleted"),
    ("TRUNCATE token_rotations", "never deleted"),
    ("TRUNCATE state", "never deleted"),
    ("TRUNCATE requests CASCADE", "never deleted"),
    ("TRUNCATE request_approvals", "never deleted"),
    ("TRUNCATE identities", "never deleted"),
];

#[tokio::test]
async fn no_statement_changes_or_deletes_what_is_recorded() {
    let ledger = Ledger::new().await;
    ledger.record(sample(1).build()).await.unwrap();
    ledger.record(sample(2).build()).await.unwrap();
    ledger.record_refusal(refusal()).await.unwrap();
    ledger.run("INSERT INTO key_owners SELECT spki_sha256, user_name FROM certificates").await.unwrap();
    let row: PolicyRow = serde_json::from_value(serde_json::json!({
        "name": "a", "effect": "allow", "clusters": ["prod"], "callers": ["token:x"], "users": ["x"],
    }))
    .unwrap();
    ledger.replace_policies(&[row], None, None, NOW, &origin("cli:root")).await.unwrap();
    ledger.create_token(&token("portal"), &origin("cli:root")).await.unwrap();
    tokens::rotate(&ledger, "portal", rotation("next", NOW)).await;
    requests::approved(&ledger).await;
    let subject = Subject { issuer: "https://idp.example".to_owned(), subject: "1234".to_owned() };
    ledger.bind_identity("oidc:corp:alice", &subject, NOW, &origin("oidc:corp:alice")).await.unwrap();
    let own = if ledger.is_sqlite() { SQLITE } else { POSTGRES };
    let both = [
        ("UPDATE certificates SET user_name = 'root'", "append-only"),
        ("DELETE FROM certificates", "append-only"),
        (
            "INSERT INTO certificates (number, authority_id, cluster_id, caller_id, serial, user_name, groups_id, on_behalf_of, reason, key_kind, spki_sha256, owns_key, not_before, not_after, asked_ttl, policy_revision, policies_id, sha256_head, der) SELECT 0, authority_id, cluster_id, caller_id, (SELECT request_id FROM events LIMIT 1), user_name, \
             groups_id, on_behalf_of, reason, key_kind, spki_sha256, 0, not_before, not_after, asked_ttl, \
             policy_revision, policies_id, sha256_head, der FROM certificates LIMIT 1",
            "append-only",
        ),
        ("UPDATE refusals SET code = 'x'", "append-only"),
        ("DELETE FROM refusals", "append-only"),
        ("UPDATE events SET at = 0", "append-only"),
        ("DELETE FROM events", "append-only"),
        ("UPDATE names SET name = 'x' WHERE id = 1", "never changed"),
        ("DELETE FROM names", "never deleted"),
        ("UPDATE name_lists SET names = '[]' WHERE id = 1", "never changed"),
        ("DELETE FROM name_lists", "never deleted"),
        ("UPDATE name_list_members SET list_id = 1", "never changed"),
        ("DELETE FROM name_list_members", "never deleted"),
        ("UPDATE key_owners SET user_name = 'root'", "first user"),
        ("DELETE FROM key_owners", "first user"),
        ("UPDATE policies SET body = '{}'", "only be ended"),
        ("UPDATE policies SET from_revision = 0", "only be ended"),
        ("DELETE FROM policies", "never deleted"),
        ("UPDATE policy_revisions SET number = 1", "never changed"),
        ("DELETE FROM policy_revisions", "never deleted"),
        ("UPDATE tokens SET roles = '[\"admin\"]'", "only be revoked"),
        ("UPDATE tokens SET expires_at = 9", "only be revoked"),
        ("DELETE FROM tokens", "never deleted"),
        ("UPDATE token_rotations SET expires_at = 9", "never changed"),
        ("UPDATE token_rotations SET previous_until = at", "never changed"),
        ("DELETE FROM token_rotations", "never deleted"),
        ("UPDATE requests SET user_name = 'root'", "only its state"),
        ("UPDATE requests SET lifetime = 9", "only its state"),
        ("UPDATE requests SET reviews = '[]'", "only its state"),
        ("UPDATE requests SET on_behalf_of = 'root'", "only its state"),
        ("UPDATE requests SET csr = csr_sha256", "only its state"),
        ("UPDATE requests SET state = 1", "only its state"),
        ("UPDATE requests SET state = 3", "check"),
        ("DELETE FROM requests", "never deleted"),
        ("UPDATE request_approvals SET comment = 'x'", "never changed"),
        ("DELETE FROM request_approvals", "never deleted"),
        ("UPDATE identities SET subject = 'x'", "only released"),
        ("UPDATE identities SET since = 0", "only released"),
        ("UPDATE identities SET released = NULL", "only released"),
        ("DELETE FROM identities", "never deleted"),
        ("UPDATE state SET number = 0", "never go back"),
        ("UPDATE state SET token_revision = 0", "never go back"),
        ("DELETE FROM state", "never deleted"),
        ("INSERT INTO state SELECT 2, 0, 0, 0, 0, NULL, NULL", "check"),
    ];
    for (statement, reason) in own.iter().copied().chain(both) {
        let error = ledger.run(statement).await.expect_err(statement).to_string();
        assert!(error.to_lowercase().contains(reason), "{statement}: {error}");
    }
    assert_eq!(ledger.all().await.len(), 2);
}

#[tokio::test]
async fn a_certificate_needs_its_event() {
    let ledger = Ledger::new().await;
    ledger.record(sample(1).build()).await.unwrap();
    let error = ledger
        .run(
            "INSERT INTO certificates (number, authority_id, cluster_id, caller_id, serial, user_name, groups_id, on_behalf_of, reason, key_kind, spki_sha256, owns_key, not_before, not_after, asked_ttl, policy_revision, policies_id, sha256_head, der) SELECT 9, authority_id, cluster_id, caller_id, (SELECT request_id FROM events LIMIT 1), user_name, \
             groups_id, on_behalf_of, reason, key_kind, spki_sha256, 0, not_before, not_after, asked_ttl, \
             policy_revision, policies_id, sha256_head, der FROM certificates",
        )
        .await
        .unwrap_err();
    assert!(error.to_string().to_lowercase().contains("foreign key"), "{error}");
}

#[tokio::test]
async fn a_row_that_this_program_did_not_write_names_itself() {
    let ledger = Ledger::new().await;
    ledger.record(sample(1).build()).await.unwrap();
    ledger.drop_trigger("certificates_are_kept", "certificates").await;
    ledger.run("UPDATE certificates SET asked_ttl = -5").await.unwrap();
    let error = ledger.certificates(&CertificateFilter::default(), everything()).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Corrupt(why) if why.contains("certificates, number 1, asked_ttl")),
        "{error}"
    );
    ledger.drop_trigger("events_are_kept", "events").await;
    ledger.run("UPDATE events SET kind = 99").await.unwrap();
    let error = ledger.events(&EventFilter::default(), everything()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(why) if why.contains("events, number 1, kind")), "{error}");
}

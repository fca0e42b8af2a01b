use super::*;
use serde_json::json;

fn settings(more: &str) -> Result<OidcSettings, String> {
    let base = "name = \"corp\"\nissuer = \"https://idp.example\"\naudience = \"countersign\"\n";
    let text = if more.contains("issuer") { more.to_owned() } else { format!("{base}{more}") };
    toml::from_str(&text).map_err(|error| error.to_string())
}

fn checked(more: &str) -> Result<(), String> {
    settings(more)?.check()
}

fn caller(more: &str, claims: &Value) -> Result<Caller, JwtError> {
    settings(more).unwrap().caller(claims.as_object().unwrap())
}

#[test]
fn what_is_left_out_has_a_safe_default() {
    let settings = settings("").unwrap();
    assert_eq!(settings.check(), Ok(()));
    assert_eq!(settings.algorithms, [Algorithm::RS256]);
    assert_eq!((settings.username_claim.as_str(), settings.max_token_age.seconds()), ("sub", 86_400));
}

#[test]
fn a_setting_that_would_accept_too_much_or_nothing_is_an_error() {
    for (more, says) in [
        ("algorithms = []", "algorithms"),
        ("algorithms = [\"HS256\"]", "HS256"),
        ("algorithms = [\"none\"]", "none"),
        ("max_token_age = \"30s\"", "max_token_age"),
        ("max_token_age = \"32d\"", "max_token_age"),
        ("username_claim = \"\"", "claim"),
        ("required_claims = { hd = \"\" }", "required_claims.hd"),
        ("required_claims = { hd = [] }", "required_claims.hd"),
        ("required_claims = { hd = 1.5 }", "required_claims"),
        ("secret = \"x\"", "secret"),
        ("name = \"x\"\nissuer = \"http://idp.example\"\naudience = \"a\"", "https"),
        ("name = \"x\"\nissuer = \"https://idp.example\"\naudience = \"\"", "audience"),
        ("name = \"X\"\nissuer = \"https://idp.example\"\naudience = \"a\"", "name"),
    ] {
        let error = checked(more).unwrap_err();
        assert!(error.contains(says), "{more}: {error}");
    }
}

#[test]
fn a_ca_file_beside_a_key_file_is_no_error() {
    assert_eq!(checked("jwks_file = \"keys.json\"\nca_file = \"idp-ca.pem\""), Ok(()));
}

#[test]
fn a_public_issuer_needs_an_owner() {
    for (issuer, claim) in [
        ("https://token.actions.githubusercontent.com", "repository_owner = \"acme\""),
        ("https://token.actions.githubusercontent.com/", "repository_owner_id = [\"1\", \"2\"]"),
        ("https://GitLab.com", "namespace_path = \"acme\""),
        ("https://accounts.google.com", "hd = \"acme.example\""),
    ] {
        let text = |claims: &str| {
            format!(
                "name = \"ci\"\nissuer = \"{issuer}\"\naudience = \"a\"\nrequired_claims = {{ {claims} }}"
            )
        };
        assert_eq!(checked(&text(claim)), Ok(()), "{issuer}");
        for other in ["", "ref = \"refs/heads/main\"", "repository_owner = true", "namespace_path = true"] {
            assert!(checked(&text(other)).unwrap_err().contains("require an owner"), "{issuer} {other}");
        }
    }
}

#[test]
fn the_claim_that_is_configured_is_the_name() {
    let claims = json!({ "sub": "1234", "preferred_username": "alice", "email": "a@corp.example", "email_verified": true });
    assert_eq!(caller("", &claims).unwrap().to_string(), "oidc:corp:1234");
    assert_eq!(
        caller("username_claim = \"preferred_username\"", &claims).unwrap().to_string(),
        "oidc:corp:alice"
    );
    assert_eq!(caller("username_claim = \"email\"", &claims).unwrap().name, "a@corp.example");
    for name in [
        json!(""),
        json!(" a"),
        json!("a\u{200b}"),
        json!("a\n"),
        json!(1),
        json!(null),
        json!(["a"]),
        json!("x".repeat(254)),
    ] {
        let error = caller("", &json!({ "sub": name })).unwrap_err();
        assert!(matches!(error, JwtError::UserName(..)), "{name}");
    }
    assert!(matches!(caller("username_claim = \"nick\"", &claims), Err(JwtError::UserName(..))));
}

#[test]
fn an_email_counts_only_where_it_is_verified() {
    for verified in [json!(false), json!("true"), json!(1), json!(null)] {
        let claims = json!({ "email": "a@corp.example", "email_verified": verified });
        assert_eq!(caller("username_claim = \"email\"", &claims), Err(JwtError::EmailNotVerified));
    }
    let claims = json!({ "email": "a@corp.example" });
    assert_eq!(caller("username_claim = \"email\"", &claims), Err(JwtError::EmailNotVerified));
}

#[test]
fn groups_are_those_of_the_configured_claim_each_once() {
    let names = |value: Value| {
        caller("groups_claim = \"groups\"", &json!({ "sub": "s", "groups": value }))
            .map(|caller| caller.groups.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(names(json!(["a", "b", "a"])).unwrap(), ["group:corp:a", "group:corp:b"]);
    assert_eq!(names(json!("a")).unwrap(), ["group:corp:a"]);
    assert_eq!(names(json!([])).unwrap(), [""; 0]);
    for wrong in [
        json!(null),
        json!(1),
        json!({}),
        json!(["a", 1]),
        json!([""]),
        json!(["a\nb"]),
        json!(["x".repeat(254)]),
        json!(vec!["g"; 501]),
    ] {
        assert_eq!(names(wrong.clone()), Err(JwtError::Groups("groups".to_owned())), "{wrong}");
    }
    assert_eq!(caller("", &json!({ "sub": "s", "groups": ["a"] })).unwrap().groups, []);
}

#[test]
fn groups_that_were_left_out_for_being_too_many_are_no_groups() {
    for marker in [
        json!({ "sub": "s", "_claim_names": { "groups": "src1" }, "_claim_sources": {} }),
        json!({ "sub": "s", "_claim_names": "groups" }),
        json!({ "sub": "s", "groups": ["a"], "_claim_names": { "groups": "src1" } }),
        json!({ "sub": "s", "hasgroups": true }),
        json!({ "sub": "s", "hasgroups": "true" }),
    ] {
        assert_eq!(caller("groups_claim = \"groups\"", &marker), Err(JwtError::GroupsLeftOut), "{marker}");
    }
    let other =
        json!({ "sub": "s", "_claim_names": { "address": "src1" }, "groups": ["a"], "hasgroups": false });
    assert_eq!(caller("groups_claim = \"groups\"", &other).unwrap().groups.len(), 1);
}

#[test]
fn a_required_claim_is_compared_with_its_type() {
    let more =
        "required_claims = { hd = \"corp.example\", level = 3, staff = true, env = [\"prod\", \"test\"] }";
    let good = json!({ "sub": "s", "hd": "corp.example", "level": 3, "staff": true, "env": "test" });
    assert!(caller(more, &good).is_ok());
    for (name, value) in [
        ("hd", json!("corp.example ")),
        ("hd", json!("CORP.example")),
        ("hd", json!(["corp.example"])),
        ("hd", json!(null)),
        ("level", json!("3")),
        ("level", json!(3.5)),
        ("staff", json!("true")),
        ("staff", json!(1)),
        ("env", json!("dev")),
        ("env", json!(["prod"])),
    ] {
        let mut claims = good.clone();
        claims[name] = value;
        assert_eq!(caller(more, &claims), Err(JwtError::Required(name.to_owned())), "{claims}");
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(caller(more, &claims), Err(JwtError::Required(name.to_owned())), "{claims}");
    }
}

#[test]
fn policy_rows_see_the_listed_claims_and_no_other() {
    let claims = json!({ "sub": "s", "team": "web", "teams": ["a", "b"], "level": 3, "staff": true, "address": {}, "x": [1], "secret": "s" });
    let more = "claims = [\"team\", \"teams\", \"level\", \"staff\", \"address\", \"x\", \"none\"]";
    let told = caller(more, &claims).unwrap().claims;
    let expected =
        [("level", vec!["3"]), ("staff", vec!["true"]), ("team", vec!["web"]), ("teams", vec!["a", "b"])];
    let told: Vec<_> = told
        .iter()
        .map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect::<Vec<_>>()))
        .collect();
    assert_eq!(told, expected);
}

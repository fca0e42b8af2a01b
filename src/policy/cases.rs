//! Tests of a policy set: who may have what, as a list that people write.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::question::{Question, Verdict};
use super::set::{ClusterRules, Clusters, PolicySet};
use super::supposed::{SupposedProof, claims_once};
use super::{Effect, file};
use crate::caller::{Caller, CallerGroup, Claims};
use crate::pki::key::KeyKind;
use crate::pki::name::{Name, ShortName};
use crate::time::{Lifetime, Time};

/// A file of cases.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// The file with the policies, seen from the folder of this one.
    pub policies: Option<String>,
    /// The clusters by name; without them those of the configuration.
    clusters: Option<BTreeMap<ShortName, ClusterTerms>>,
    /// When the cases are asked that do not say it themselves.
    at: Option<Time>,
    cases: Vec<Case>,
}

/// What of a cluster's configuration a decision looks at. What is left out is as there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterTerms {
    default_ttl: Option<Lifetime>,
    max_ttl: Option<Lifetime>,
    #[serde(default)]
    reserved: Vec<String>,
    #[serde(default)]
    node_identities: bool,
    trust_group: Option<ShortName>,
}

/// One question and what is to come of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// For people.
    name: Option<String>,
    caller: String,
    /// `group:SOURCE:NAME`, as the caller's credential shows them.
    #[serde(default)]
    caller_groups: Vec<String>,
    /// What its credential claims, by claim.
    #[serde(default, deserialize_with = "claims_once")]
    caller_claims: Claims,
    user: String,
    #[serde(default)]
    groups: Vec<String>,
    /// May be left out where there is one.
    cluster: Option<ShortName>,
    ttl: Option<Lifetime>,
    on_behalf_of: Option<String>,
    /// That the named person's own token comes with it, and what that shows.
    proof: Option<SupposedProof>,
    /// The kind of key; `p-256` where nothing is said.
    key: Option<String>,
    /// When it is asked: wanted where rows have windows.
    at: Option<Time>,
    expect: Effect,
    /// The lifetime that is given, exactly.
    lifetime: Option<Lifetime>,
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    /// The case's name, or what it asks.
    pub title: String,
    /// What was expected and what came instead; none where they are the same.
    pub failure: Option<Failure>,
}

/// A case that did not go as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// As in `allow for 8h`.
    pub expected: String,
    /// The same of what came.
    pub got: String,
    /// Why that came: the rows that decided, or each refused claim.
    pub because: Vec<String>,
}

/// What a case needs, read.
struct Asked {
    caller: Caller,
    cluster: ShortName,
    user: Name,
    groups: Vec<Name>,
    key: KeyKind,
    on_behalf_of: Option<Name>,
}

impl CaseFile {
    /// Reads a file: YAML, or JSON where it begins with `{`.
    ///
    /// # Errors
    /// A sentence with the line and the reason.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let read: Self = file::read(text)?;
        if read.cases.is_empty() {
            return Err("there are no cases: `cases` is a list of questions".to_owned());
        }
        Ok(read)
    }

    /// The clusters that the file describes, with CAs that never end.
    #[must_use]
    pub fn clusters(&self) -> Option<Clusters> {
        let clusters = self.clusters.as_ref()?;
        let rules = clusters.iter().map(|(name, terms)| terms.rules(name)).collect();
        Some(Clusters { rules }.without_ends())
    }

    /// Decides every case under `set`, which is compiled for `clusters`.
    ///
    /// # Errors
    /// A case that cannot be asked: its place and what is wrong with it.
    pub fn run(&self, set: &PolicySet, clusters: &Clusters) -> Result<Vec<CaseResult>, String> {
        let numbered = (1..).zip(&self.cases);
        let run = numbered.map(|(place, case): (u32, &Case)| {
            case.run(set, clusters, self.at)
                .map_err(|reason| format!("case {place}, {}: {reason}", case.title()))
        });
        run.collect()
    }
}

impl ClusterTerms {
    fn rules(&self, name: &ShortName) -> ClusterRules {
        let hours = |hours: u32| Lifetime::from_seconds(hours.saturating_mul(3_600));
        let max_ttl = self.max_ttl.unwrap_or(hours(24));
        ClusterRules {
            name: name.clone(),
            default_ttl: self.default_ttl.unwrap_or(hours(8)).min(max_ttl),
            max_ttl,
            reserved: self.reserved.clone(),
            node_identities: self.node_identities,
            trust_group: self.trust_group.clone(),
            ca_not_before: Time::from_unix(0),
            ca_not_after: Time::from_unix(0),
            ca_keys: Vec::new(),
        }
    }
}

impl Case {
    fn title(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let groups = if self.groups.is_empty() { "no group".to_owned() } else { self.groups.join(", ") };
        let proof = if self.proof.is_some() { " with proof" } else { "" };
        let person =
            self.on_behalf_of.as_ref().map(|person| format!(" for {person}{proof}")).unwrap_or_default();
        format!("{}{person} asks for {} with {groups}", self.caller, self.user)
    }

    fn run(&self, set: &PolicySet, clusters: &Clusters, at: Option<Time>) -> Result<CaseResult, String> {
        if self.lifetime.is_some() && self.expect == Effect::Deny {
            return Err("a lifetime goes with `expect: allow` or `review` only".to_owned());
        }
        let asked = self.read(clusters)?;
        let question = Question {
            cluster: &asked.cluster,
            user: &asked.user,
            groups: &asked.groups,
            key: asked.key,
            ttl: self.ttl,
            on_behalf_of: asked.on_behalf_of.as_ref(),
        };
        let verdict = set.would(clusters, &asked.caller, question, self.moment(set, at)?);
        Ok(CaseResult { title: self.title(), failure: self.failure(&verdict) })
    }

    /// No CA ends, so without windows one moment is as good as another.
    fn moment(&self, set: &PolicySet, at: Option<Time>) -> Result<Time, String> {
        match self.at.or(at) {
            None if set.has_windows() => {
                Err("a row has `when`: say when this is asked, as in `at: 2026-06-01T09:00:00Z`".to_owned())
            }
            at => Ok(at.unwrap_or(Time::from_unix(0))),
        }
    }

    fn failure(&self, verdict: &Verdict) -> Option<Failure> {
        let lifetime = verdict.lifetime();
        let as_long = self.lifetime.is_none_or(|expected| lifetime == Some(expected));
        if verdict.effect() == self.expect && as_long {
            return None;
        }
        Some(Failure {
            expected: outcome(self.expect, self.lifetime),
            got: outcome(verdict.effect(), lifetime),
            because: verdict.reasons(),
        })
    }

    fn read(&self, clusters: &Clusters) -> Result<Asked, String> {
        let mut caller = Caller::parse(&self.caller)?;
        for group in &self.caller_groups {
            caller.groups.push(CallerGroup::parse(group)?);
        }
        caller.claims.clone_from(&self.caller_claims);
        let proof = self.proof.as_ref().map(|proof| proof.of(self.on_behalf_of.as_deref()));
        caller.proven = proof.transpose().map_err(|reason| format!("proof: {reason}"))?;
        let name = |field: &str, text: &str| Name::parse(text).map_err(|error| format!("{field}: {error}"));
        let key = self.key.as_deref().unwrap_or(KeyKind::P256.as_str());
        Ok(Asked {
            caller,
            cluster: self.cluster(clusters)?,
            user: name("user", &self.user)?,
            groups: self.groups.iter().map(|group| name("groups", group)).collect::<Result<_, _>>()?,
            key: KeyKind::parse(key).ok_or_else(|| format!("there is no kind of key `{key}`"))?,
            on_behalf_of: self.on_behalf_of.as_ref().map(|one| name("on_behalf_of", one)).transpose()?,
        })
    }

    fn cluster(&self, clusters: &Clusters) -> Result<ShortName, String> {
        let names: Vec<&ShortName> = clusters.rules.iter().map(|rules| &rules.name).collect();
        let listed = || names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match (&self.cluster, names.as_slice()) {
            (Some(asked), known) if known.contains(&asked) => Ok(asked.clone()),
            (Some(asked), _) => Err(format!("there is no cluster {asked}: it is one of {}", listed())),
            (None, [only]) => Ok((*only).clone()),
            (None, _) => Err(format!("say which cluster, one of {}", listed())),
        }
    }
}

impl Verdict {
    /// Why, a line each: the rows that decided, a cut lifetime, each refused claim.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let rows: Vec<String> = self.rows().iter().map(|row| format!("`{row}`")).collect();
        let decided = (!rows.is_empty()).then(|| format!("decided by {}", rows.join(", ")));
        let warning = match self {
            Self::Allowed { warning, .. } | Self::Held { warning, .. } => warning.clone(),
            Self::Refused { .. } => None,
        };
        let reviews: Vec<String> = self.reviews().iter().map(|row| format!("`{row}`")).collect();
        let held = (!reviews.is_empty()).then(|| format!("held by {}", reviews.join(", ")));
        let claims = self.violations().iter().map(|violation| {
            let nearest = match violation.allowed.as_slice() {
                [] => String::new(),
                allowed => format!(" (nearest: {})", allowed.join(", ")),
            };
            format!("{} `{}`: {}{nearest}", violation.claim, violation.value, violation.reason)
        });
        claims.chain(warning).chain(decided).chain(held).collect()
    }
}

fn outcome(effect: Effect, lifetime: Option<Lifetime>) -> String {
    let word = match effect {
        Effect::Allow => "allow",
        Effect::Review => "review",
        Effect::Deny => "deny",
    };
    lifetime.map_or_else(|| word.to_owned(), |lifetime| format!("{word} for {lifetime}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PolicyFile;

    const POLICIES: &str = r#"
policies:
  - { name: people, effect: allow, clusters: ["*"], callers: ["oidc:corp:*"], users: ["{caller}"], groups: [dev, "{caller.groups}"], max_ttl: 8h }
  - { name: portal, effect: allow, clusters: [prod], callers: ["token:portal"], on_behalf_of: ["*"], users: ["{on_behalf_of}"], keys: [p-256] }
  - { name: no-admins, effect: deny, clusters: ["*"], callers: ["oidc:corp:*"], users: ["*"], groups: [admins], explain: true }
"#;

    fn run(cases: &str) -> Result<Vec<CaseResult>, String> {
        let file = CaseFile::read(cases.as_bytes())?;
        let clusters = file.clusters().unwrap();
        let rows = PolicyFile::read(POLICIES.as_bytes()).unwrap().policies;
        let set = PolicySet::compile(0, rows, &clusters).unwrap();
        file.run(&set, &clusters)
    }

    /// The failure of one case of cluster `prod`.
    fn one(case: &str) -> Option<Failure> {
        run(&format!("clusters: {{prod: {{}}}}\ncases: [{{{case}}}]")).unwrap().remove(0).failure
    }

    #[test]
    fn a_case_passes_where_it_goes_as_it_says() {
        for case in [
            "caller: oidc:corp:alice, user: alice, groups: [dev], ttl: 8h, expect: allow, lifetime: 8h",
            "caller: oidc:corp:alice, user: alice, ttl: 12h, expect: allow, lifetime: 8h",
            "caller: oidc:corp:alice, user: alice, groups: [ops], caller_groups: ['group:corp:ops'], expect: allow",
            "caller: oidc:corp:bob, user: bob, groups: [admins], expect: deny",
            "caller: token:portal, on_behalf_of: carol, user: carol, expect: allow",
            "caller: token:portal, on_behalf_of: carol, user: carol, key: rsa-2048, expect: deny",
            "caller: token:portal, user: carol, expect: deny",
        ] {
            assert_eq!(one(case), None, "{case}");
        }
    }

    #[test]
    fn a_failure_says_what_was_expected_and_what_came_and_why() {
        let failure =
            one("caller: oidc:corp:bob, user: bob, groups: [admins], expect: allow, lifetime: 1h").unwrap();
        assert_eq!((failure.expected.as_str(), failure.got.as_str()), ("allow for 1h", "deny"));
        assert_eq!(
            failure.because,
            ["group `admins`: denied by policy `no-admins` (nearest: dev)", "decided by `no-admins`"]
        );
        let failure = one("caller: oidc:corp:bob, user: bob, ttl: 9h, expect: allow, lifetime: 9h").unwrap();
        assert_eq!(failure.got, "allow for 8h");
        assert!(failure.because[0].contains("cut from 9h to 8h"), "{failure:?}");
        let failure = one("caller: oidc:corp:bob, user: bob, expect: deny").unwrap();
        assert_eq!(
            (failure.got.as_str(), failure.because),
            ("allow for 8h", vec!["decided by `people`".into()])
        );
        let failure = one("caller: oidc:corp:bob, user: bob, expect: review").unwrap();
        assert_eq!(failure.expected, "review");
    }

    #[test]
    fn a_case_that_cannot_be_asked_is_an_error_that_names_it() {
        let clusters = "clusters: {prod: {}, test: {max_ttl: 1h}}\n";
        for (case, part) in [
            ("caller: alice, user: alice, cluster: prod, expect: allow", "token:NAME"),
            ("caller: 'token:a', user: '', cluster: prod, expect: allow", "user"),
            ("caller: 'token:a', user: a, expect: allow", "prod, test"),
            ("caller: 'token:a', user: a, cluster: prd, expect: allow", "no cluster prd"),
            ("caller: 'token:a', user: a, cluster: prod, key: dsa, expect: allow", "dsa"),
            (
                "caller: 'token:a', caller_groups: [dev], user: a, cluster: prod, expect: allow",
                "group:SOURCE:NAME",
            ),
            ("caller: 'token:a', user: a, cluster: prod, expect: deny, lifetime: 1h", "lifetime"),
        ] {
            let error = run(&format!("{clusters}cases: [{{name: n, {case}}}]")).unwrap_err();
            assert!(error.starts_with("case 1, n: ") && error.contains(part), "{error}");
        }
        for broken in [
            "cases: []",
            "cases: [{caller: 'token:a', user: a, expect: perhaps}]",
            "clusters: {}",
            "cases: [{expcet: deny}]",
            r#"{"cases": [{"caller": "oidc:corp:a", "user": "a", "expect": "deny", "caller_claims": {"c": ["a"], "c": []}}]}"#,
        ] {
            assert!(CaseFile::read(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_case_says_when_it_is_asked_and_what_the_credential_claims() {
        let rows = br#"policies: [{name: office, effect: allow, clusters: [prod], callers: ["oidc:corp:*"],
            users: ["{caller.claim.email}"], when: ["mon-fri 08:00-18:00 UTC"]}]"#;
        let rows = PolicyFile::read(rows).unwrap().policies;
        let run = |at: &str, case: &str| {
            let case =
                format!("{case}, caller: 'oidc:corp:1', user: a@corp, caller_claims: {{email: [a@corp]}}");
            let text = format!("clusters: {{prod: {{}}}}\n{at}\ncases: [{{name: n, {case}}}]");
            let file = CaseFile::read(text.as_bytes()).unwrap();
            let clusters = file.clusters().unwrap();
            file.run(&PolicySet::compile(0, rows.clone(), &clusters).unwrap(), &clusters)
        };
        let monday = "at: 2026-06-01T16:00:00Z";
        for (at, case) in [
            (monday, "expect: allow, lifetime: 2h".to_owned()),
            ("", format!("{monday}, expect: allow, lifetime: 2h")),
            (monday, "at: 2026-06-06T16:00:00Z, expect: deny".to_owned()),
        ] {
            assert_eq!(run(at, &case).unwrap()[0].failure, None, "{at}, {case}");
        }
        assert!(run("", "expect: allow").unwrap_err().contains("`at: 2026"));
    }

    #[test]
    fn a_case_says_what_the_persons_own_token_shows() {
        let rows = br#"policies:
          - { name: proven, effect: allow, clusters: [prod], callers: ["token:portal"], on_behalf_of: ["*"],
              users: ["{on_behalf_of}"], groups: ["{on_behalf_of.groups}"], proof: true }"#;
        let rows = PolicyFile::read(rows).unwrap().policies;
        let run = |case: &str| {
            let text =
                format!("clusters: {{prod: {{}}}}\ncases: [{{caller: 'token:portal', user: carol, {case}}}]");
            let file = CaseFile::read(text.as_bytes()).unwrap();
            let clusters = file.clusters().unwrap();
            file.run(&PolicySet::compile(0, rows.clone(), &clusters).unwrap(), &clusters)
        };
        for case in [
            "on_behalf_of: carol, groups: [ops], proof: {groups: [ops, dev]}, expect: allow",
            "on_behalf_of: carol, proof: {}, expect: allow",
            "on_behalf_of: carol, groups: [ops], proof: {groups: [dev]}, expect: deny",
            "on_behalf_of: carol, expect: deny",
            "on_behalf_of: dave, proof: {groups: [ops]}, expect: deny",
        ] {
            assert_eq!(run(case).unwrap()[0].failure, None, "{case}");
        }
        assert!(
            run("on_behalf_of: carol, proof: {}, expect: deny").unwrap()[0]
                .title
                .contains("carol with proof")
        );
        for (case, part) in [
            ("proof: {}, expect: deny", "proof: it is the token of a person who is named"),
            ("on_behalf_of: carol, proof: {groups: ['']}, expect: deny", "proof: a group is empty"),
        ] {
            assert!(run(case).unwrap_err().contains(part), "{case}");
        }
    }

    #[test]
    fn the_example_passes() {
        let file = CaseFile::read(include_bytes!("../../examples/policy-cases.yaml")).unwrap();
        let rows = PolicyFile::read(include_bytes!("../../examples/policies.yaml")).unwrap().policies;
        let clusters = file.clusters().unwrap();
        let set = PolicySet::compile(0, rows, &clusters).unwrap();
        let results = file.run(&set, &clusters).unwrap();
        let failed: Vec<_> = results.iter().filter(|result| result.failure.is_some()).collect();
        assert!(failed.is_empty() && results.len() > 5, "{failed:?}");
    }

    #[test]
    fn a_cluster_of_the_file_has_its_own_terms() {
        let cases = "clusters: {prod: {}, test: {max_ttl: 1h, reserved: ['corp:']}}\ncases:\n\
                     - {caller: oidc:corp:alice, user: alice, cluster: test, expect: allow, lifetime: 1h}\n\
                     - {caller: oidc:corp:alice, caller_groups: ['group:corp:corp:x'], user: alice, groups: ['corp:x'], cluster: test, expect: deny}\n";
        assert!(run(cases).unwrap().iter().all(|result| result.failure.is_none()));
    }
}

//! Checks one row as it is written, and compiles it.

use std::sync::Arc;

use super::approvers::ApproverPattern;
use super::callers::{CallerPattern, Subject};
use super::pattern::{Pattern, Star, Variable};
use super::reserved::{NameClass, ReservedNames};
use super::rule::{Reading, Rule};
use super::set::{Clusters, RowError};
use super::windows::{Window, Windows};
use super::{Effect, PolicyRow};
use crate::caller::{CallerGroup, CallerKind};
use crate::pki::key::KeyKind;
use crate::pki::name::{Name, ShortName};
use crate::time::Lifetime;

/// The longest description, in bytes.
const LONGEST_DESCRIPTION: usize = 1_000;

/// The most approvals that a row wants.
const MOST_APPROVALS: u32 = 20;

/// What rows are checked against.
pub(super) struct Ground<'a> {
    clusters: &'a Clusters,
    /// Whether rows may name clusters that are not among these.
    others: bool,
    built_in: ReservedNames,
    reserved: Vec<(ShortName, ReservedNames)>,
}

impl<'a> Ground<'a> {
    /// For rows that somebody writes: a cluster that is not configured is a mistake.
    pub(super) fn new(clusters: &'a Clusters) -> Self {
        Self { others: false, ..Self::stored(clusters) }
    }

    /// For rows that were written before: another configuration may know more clusters.
    pub(super) fn stored(clusters: &'a Clusters) -> Self {
        let reserved = clusters
            .rules
            .iter()
            .map(|rules| (rules.name.clone(), ReservedNames::new(&rules.reserved)))
            .collect();
        Self { clusters, others: true, built_in: ReservedNames::new(&[]), reserved }
    }

    fn knows(&self, cluster: &str) -> bool {
        self.others || self.clusters.rules.iter().any(|rules| rules.name.as_str() == cluster)
    }

    /// The strictest class that `name` has on a cluster that `rule` covers.
    fn class(&self, rule: &Rule, name: &Name) -> NameClass {
        self.reserved
            .iter()
            .filter(|(cluster, _)| rule.covers_cluster(cluster))
            .map(|(_, reserved)| reserved.class(name))
            .fold(self.built_in.class(name), NameClass::max)
    }
}

/// Compiles `row`, or says everything that is wrong with it.
pub(super) fn compile(row: &PolicyRow, ground: &Ground<'_>) -> Result<Rule, Vec<RowError>> {
    let mut check = Check { row, ground, errors: Vec::new() };
    let rule = check.rule();
    check.name();
    check.effect();
    check.limits();
    check.approvers(&rule);
    check.clusters(&rule);
    check.sources(&rule);
    check.renewal(&rule);
    check.variables(&rule);
    if row.effect == Effect::Allow {
        check.reserved(&rule);
    }
    if check.errors.is_empty() { Ok(rule) } else { Err(check.errors) }
}

struct Check<'a> {
    row: &'a PolicyRow,
    ground: &'a Ground<'a>,
    errors: Vec<RowError>,
}

impl Check<'_> {
    fn wrong(&mut self, field: &str, reason: impl Into<String>) {
        let row = self.row.name.to_string();
        self.errors.push(RowError { row, field: field.to_owned(), reason: reason.into() });
    }

    /// The row with every pattern that could be read.
    fn rule(&mut self) -> Rule {
        let row = self.row;
        let reading = Reading::of(row.effect);
        let (star, except) = (reading.star(), Reading::of_except(row.effect).star());
        Rule {
            name: row.name.clone(),
            effect: row.effect,
            clusters: self.list("clusters", &row.clusters, |text| read(text, Star::Printable)),
            callers: self.list("callers", &row.callers, |text| {
                CallerPattern::parse(text, reading.caller_star()).map_err(|error| error.to_string())
            }),
            users: self.list("users", &row.users, |text| read_name(text, star)),
            groups: row.groups.as_ref().map(|list| self.list("groups", list, |text| read_name(text, star))),
            except_users: self.except("except_users", row.except_users.as_deref(), except),
            except_groups: self.except("except_groups", row.except_groups.as_deref(), except),
            required_groups: row
                .required_groups
                .as_ref()
                .map(|list| self.list("required_groups", list, read_group))
                .unwrap_or_default(),
            when: self.when(),
            people: row
                .on_behalf_of
                .as_ref()
                .map(|list| self.list("on_behalf_of", list, |text| read_name(text, star))),
            proof: row.proof,
            max_ttl: row.max_ttl,
            max_active: row.max_active,
            per_hour: row.per_hour,
            keys: row.keys.as_ref().map(|list| self.list("keys", list, read_key)),
            approvers: row
                .approvers
                .as_ref()
                .map(|list| {
                    self.list("approvers", list, |text| {
                        ApproverPattern::parse(text).map_err(|error| error.to_string())
                    })
                })
                .unwrap_or_default(),
            approvals: row.approvals.unwrap_or(1),
            description: row.description.clone(),
            explain: row.explain,
            enabled: row.enabled,
        }
    }

    fn except(&mut self, field: &str, texts: Option<&[String]>, star: Star) -> Vec<Pattern> {
        texts.map(|texts| self.list(field, texts, |text| read_name(text, star))).unwrap_or_default()
    }

    fn when(&mut self) -> Option<Arc<Windows>> {
        let texts = self.row.when.as_ref()?;
        let windows = self.list("when", texts, Window::parse);
        match Windows::joined(texts, windows) {
            Ok(windows) => Some(Arc::new(windows)),
            Err(reason) => {
                self.wrong("when", reason);
                None
            }
        }
    }

    fn list<T>(&mut self, field: &str, texts: &[String], read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        if texts.is_empty() {
            self.wrong(field, "an empty list matches nobody: leave the field out, or name somebody");
        }
        let mut values = Vec::with_capacity(texts.len());
        for text in texts {
            match read(text) {
                Ok(value) => values.push(value),
                Err(reason) => self.wrong(field, format!("`{}`: {reason}", text.escape_debug())),
            }
        }
        values
    }

    /// The API has these beside the rows.
    fn name(&mut self) {
        if ["evaluate", "plan"].contains(&self.row.name.as_str()) {
            self.wrong("name", "is a path of the API, /v1/policies/..., beside the rows: choose another");
        }
    }

    fn effect(&mut self) {
        let row = self.row;
        if row.effect == Effect::Deny && row.max_ttl.is_some() {
            self.wrong("max_ttl", "a deny row gives no lifetime: leave it out");
        }
        if row.effect == Effect::Deny && row.keys.is_some() {
            self.wrong("keys", "a deny row covers every kind of key: leave it out");
        }
        if row.effect != Effect::Deny && row.explain {
            self.wrong("explain", "only a deny row is explained: leave it out");
        }
        if row.effect != Effect::Allow && row.proof {
            self.wrong(
                "proof",
                "what nobody has to show is in no one's favour: only an allow row wants proof",
            );
        }
        if row.proof && row.on_behalf_of.is_none() {
            self.wrong("proof", "a row that names no person wants no token of one: write on_behalf_of");
        }
        if row.effect == Effect::Allow && row.hold {
            self.wrong("hold", "an allow row is not held, so that no right outlives its set: leave it out");
        }
        if let Some(ttl) = row.max_ttl.filter(|ttl| !(Lifetime::LEAST..=Lifetime::MOST).contains(ttl)) {
            let (least, most) = (Lifetime::LEAST, Lifetime::MOST);
            self.wrong("max_ttl", format!("{ttl} is not between {least} and {most}"));
        }
        if row.description.as_ref().is_some_and(|text| text.len() > LONGEST_DESCRIPTION) {
            self.wrong("description", format!("at most {LONGEST_DESCRIPTION} bytes are kept: shorten it"));
        }
    }

    fn limits(&mut self) {
        let row = self.row;
        for (field, limit) in [("max_active", row.max_active), ("per_hour", row.per_hour)] {
            if limit.is_some() && row.effect != Effect::Allow {
                self.wrong(field, "only what an allow row gives is counted: leave it out");
            }
            if limit == Some(0) {
                self.wrong(field, "0 allows nothing: write at least 1, or enabled: false");
            }
        }
        if row.except_groups.is_some() && row.groups.is_none() {
            self.wrong("except_groups", "a row without groups speaks of none: leave it out, or write groups");
        }
    }

    /// A review row says who approves, and no other row does.
    fn approvers(&mut self, rule: &Rule) {
        let row = self.row;
        if row.effect != Effect::Review {
            for (field, given) in
                [("approvers", row.approvers.is_some()), ("approvals", row.approvals.is_some())]
            {
                if given {
                    self.wrong(field, "only a review row is approved: leave it out");
                }
            }
            return;
        }
        if row.approvers.is_none() {
            self.wrong("approvers", "a review row says who approves: name somebody, as in callers");
        }
        let wanted = row.approvals.unwrap_or(1);
        if !(1..=MOST_APPROVALS).contains(&wanted) {
            self.wrong("approvals", format!("{wanted} is not between 1 and {MOST_APPROVALS}"));
        }
        let one_each = rule.approvers.iter().all(ApproverPattern::is_one);
        let named = u32::try_from(rule.approvers.len()).unwrap_or(u32::MAX);
        if one_each && (1..wanted).contains(&named) {
            self.wrong("approvals", format!("it wants {wanted}, and approvers names {named} only"));
        }
    }

    fn clusters(&mut self, rule: &Rule) {
        for pattern in &rule.clusters {
            let text = pattern.as_str();
            let stem = text.replace('*', "");
            if pattern.variable().is_some() || !(stem.is_empty() || could_be_cluster(&stem)) {
                self.wrong("clusters", format!("`{}` is no pattern of cluster names", text.escape_debug()));
            } else if pattern.is_literal() && !self.ground.knows(text) {
                self.wrong(
                    "clusters",
                    format!("there is no cluster `{text}`: name a configured one, or use *"),
                );
            }
        }
    }

    /// The source of a service account or of a certificate of ours is a cluster.
    fn sources(&mut self, rule: &Rule) {
        let callers = rule.callers.iter().map(|entry| ("callers", entry));
        let approvers = rule.approvers.iter().filter_map(ApproverPattern::caller);
        for (field, entry) in callers.chain(approvers.map(|entry| ("approvers", entry))) {
            let of_cluster = matches!(
                entry.subject,
                Subject::Caller(CallerKind::ServiceAccount | CallerKind::Certificate)
            );
            if let Some(source) =
                entry.source.as_ref().filter(|source| of_cluster && !self.ground.knows(source.as_str()))
            {
                self.wrong(field, format!("there is no cluster `{source}`: name a configured one"));
            }
        }
    }

    /// What lets a certificate renew itself says so, and says nothing else: a row for people that names
    /// one by mistake, or one for renewals that names a token, is not what it looks like.
    fn renewal(&mut self, rule: &Rule) {
        let row = self.row;
        if row.effect != Effect::Allow {
            if row.renew {
                self.wrong("renew", "only an allow row lets a certificate be renewed: leave it out");
            }
            return;
        }
        let renewals =
            rule.callers.iter().filter(|entry| entry.subject == Subject::Caller(CallerKind::Certificate));
        match (row.renew, renewals.count()) {
            (true, count) if count < rule.callers.len() => self.wrong(
                "renew",
                "a row for renewals names certificates only, as cert:CLUSTER:USER: write another row for other callers",
            ),
            (true, _) if row.on_behalf_of.is_some() => {
                self.wrong("on_behalf_of", "a certificate is renewed for its own user: leave it out");
            }
            (false, 1..) => self.wrong(
                "callers",
                "a certificate of ours opens renewal and nothing else: write renew: true, in a row of its own",
            ),
            _ => {}
        }
    }

    fn variables(&mut self, rule: &Rule) {
        let one_source = has_one_source(&rule.callers);
        let fields = [
            ("users", Some(&rule.users)),
            ("groups", rule.groups.as_ref()),
            ("except_users", Some(&rule.except_users)),
            ("except_groups", Some(&rule.except_groups)),
            ("on_behalf_of", rule.people.as_ref()),
        ];
        for (field, patterns) in fields {
            for variable in patterns.into_iter().flatten().filter_map(Pattern::variable) {
                match variable {
                    Variable::Caller | Variable::Claim(_) if !one_source => self.wrong(
                        field,
                        "{caller} and {caller.claim.NAME} need every entry of callers to be of one kind and one \
                         source: the same name is another person elsewhere",
                    ),
                    Variable::OnBehalfOf if field == "on_behalf_of" => {
                        self.wrong(field, "{on_behalf_of} matches itself: write * for anybody");
                    }
                    Variable::OnBehalfOf if rule.people.is_none() => {
                        self.wrong(field, "{on_behalf_of} needs a row that says on_behalf_of whom");
                    }
                    Variable::CallerGroups | Variable::PersonGroups if field == "on_behalf_of" => {
                        self.wrong(field, "{caller.groups} and {on_behalf_of.groups} are groups, and this names a person");
                    }
                    Variable::PersonGroups if rule.people.is_none() => {
                        self.wrong(field, "{on_behalf_of.groups} needs a row that says on_behalf_of whom");
                    }
                    Variable::Caller
                    | Variable::OnBehalfOf
                    | Variable::CallerGroups
                    | Variable::PersonGroups
                    | Variable::Claim(_) => {}
                }
            }
        }
    }

    /// A reserved name is given only to callers and users that are spelled out.
    fn reserved(&mut self, rule: &Rule) {
        let starred = rule.is_starred();
        for (field, patterns) in [("users", Some(&rule.users)), ("groups", rule.groups.as_ref())] {
            for pattern in patterns.into_iter().flatten().filter(|pattern| pattern.is_literal()) {
                let Ok(name) = Name::parse(pattern.as_str()) else { continue };
                match self.ground.class(rule, &name) {
                    NameClass::NeverIssued => {
                        self.wrong(field, format!("`{name}` is never issued: take it out"));
                    }
                    NameClass::LooksReserved => {
                        self.wrong(
                            field,
                            format!("`{name}` looks like a reserved name without being it: take it out"),
                        );
                    }
                    NameClass::Reserved | NameClass::NodeIdentity if starred => {
                        let why = "is reserved, so this row has no * in users or callers: spell them out";
                        self.wrong(field, format!("`{name}` {why}"));
                    }
                    NameClass::Ordinary | NameClass::Reserved | NameClass::NodeIdentity => {}
                }
            }
        }
    }
}

fn read(text: &str, star: Star) -> Result<Pattern, String> {
    Pattern::parse(text, star).map_err(|error| error.to_string())
}

/// A pattern is itself a sound name: one in another normal form, or with a space at an end, would
/// match nothing, and a deny row that matches nothing denies nothing.
fn read_name(text: &str, star: Star) -> Result<Pattern, String> {
    let pattern = read(text, star)?;
    Name::parse(text).map_err(|error| format!("no name is written so: {error}"))?;
    Ok(pattern)
}

/// An entry of `required_groups`, which is matched byte for byte.
fn read_group(text: &str) -> Result<CallerGroup, String> {
    let wrong = || "write one group of the caller's own, literally, as in group:corp:on-call".to_owned();
    let read = CallerPattern::parse(text, Star::Segment).map_err(|error| error.to_string())?;
    match (read.subject, read.source) {
        (Subject::Group, Some(source)) if read.name.is_literal() => {
            Ok(CallerGroup { source, name: read.name.as_str().to_owned() })
        }
        _ => Err(wrong()),
    }
}

fn read_key(text: &str) -> Result<KeyKind, String> {
    KeyKind::parse(text).ok_or_else(|| {
        let known: Vec<&str> = KeyKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("no such kind of key: it is one of {}", known.join(", "))
    })
}

fn could_be_cluster(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'))
}

fn has_one_source(callers: &[CallerPattern]) -> bool {
    callers.windows(2).all(|pair| match pair {
        [one, other] => one.subject == other.subject && one.source == other.source,
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{clusters, row};
    use serde_json::json;

    /// The fields that are wrong with a row.
    fn wrong(json: serde_json::Value) -> Vec<String> {
        let clusters = clusters();
        match compile(&row(json), &Ground::new(&clusters)) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.into_iter().map(|error| error.field).collect(),
        }
    }

    /// What is wrong with a sound row, after one field is set to something else.
    fn with(field: &str, value: serde_json::Value) -> Vec<String> {
        let mut json = serde_json::json!({"name": "a", "effect": "allow"});
        json[field] = value;
        wrong(json)
    }

    #[test]
    fn an_empty_list_is_an_error() {
        for field in [
            "clusters",
            "callers",
            "users",
            "groups",
            "except_users",
            "required_groups",
            "when",
            "on_behalf_of",
            "keys",
        ] {
            assert_eq!(with(field, json!([])), [field]);
            assert_eq!(wrong(json!({"name": "a", "effect": "deny", "enabled": false, field: []}))[0], field);
        }
    }

    #[test]
    fn an_unknown_cluster_is_an_error() {
        for text in ["nowhere", "Prod", "prod ", "prod:*", "{caller}"] {
            assert_eq!(with("clusters", json!([text])), ["clusters"], "{text}");
        }
        for text in ["prod", "*", "pr*", "edge-*"] {
            assert!(with("clusters", json!([text])).is_empty(), "{text}");
        }
        assert_eq!(with("callers", json!(["sa:nowhere:ci:builder"])), ["callers"]);
        assert!(with("callers", json!(["sa:prod:ci:builder"])).is_empty());
        let renewal =
            |caller: &str| wrong(json!({"name": "a", "effect": "allow", "renew": true, "callers": [caller]}));
        assert_eq!(renewal("cert:nowhere:alice"), ["callers"]);
        assert!(renewal("cert:prod:alice").is_empty());
    }

    #[test]
    fn a_row_is_for_renewals_or_for_other_callers() {
        let nothing: [&str; 0] = [];
        for (row, fields) in [
            (json!({"effect": "allow", "renew": true, "callers": ["cert:prod:*"]}), &nothing[..]),
            (json!({"effect": "allow", "callers": ["cert:prod:*"]}), &["callers"]),
            (json!({"effect": "allow", "callers": ["token:a", "cert:prod:a"]}), &["callers"]),
            (json!({"effect": "allow", "renew": true, "callers": ["token:a", "cert:prod:a"]}), &["renew"]),
            (json!({"effect": "allow", "renew": true, "callers": ["group:corp:a"]}), &["renew"]),
            (
                json!({"effect": "allow", "renew": true, "callers": ["cert:prod:*"], "on_behalf_of": ["*"]}),
                &["on_behalf_of"],
            ),
            (json!({"effect": "deny", "callers": ["cert:prod:*", "token:a"]}), &nothing),
            (json!({"effect": "deny", "renew": true, "callers": ["cert:prod:*"]}), &["renew"]),
        ] {
            let mut row = row;
            row["name"] = "a".into();
            assert_eq!(wrong(row.clone()), fields, "{row}");
        }
    }

    #[test]
    fn a_review_row_says_who_approves_and_no_other_row_does() {
        let review = |more: serde_json::Value| {
            let mut row = json!({"name": "a", "effect": "review", "approvers": ["token:carol", "cli:root"]});
            for (field, value) in more.as_object().expect("an object") {
                row[field] = value.clone();
            }
            wrong(row)
        };
        let nothing: [&str; 0] = [];
        assert_eq!(review(json!({})), nothing);
        assert_eq!(review(json!({"approvals": 2, "max_ttl": "1h", "keys": ["p-256"]})), nothing);
        assert_eq!(review(json!({"approvals": 3})), ["approvals"], "of two who are named");
        assert_eq!(review(json!({"approvals": 3, "approvers": ["token:*"]})), nothing);
        assert_eq!(review(json!({"approvals": 0})), ["approvals"]);
        assert_eq!(review(json!({"approvals": 21, "approvers": ["group:corp:sec"]})), ["approvals"]);
        assert_eq!(review(json!({"approvers": []})), ["approvers"]);
        assert_eq!(review(json!({"approvers": ["carol"]})), ["approvers"]);
        assert_eq!(review(json!({"approvers": ["cli:*"]})), ["approvers"]);
        assert_eq!(review(json!({"approvers": ["sa:nowhere:ci:builder"]})), ["approvers"]);
        assert_eq!(review(json!({"approvers": ["token:{caller}"]})), ["approvers"]);
        assert_eq!(review(json!({"explain": true})), ["explain"]);
        assert_eq!(wrong(json!({"name": "a", "effect": "review"})), ["approvers"]);
        for effect in ["allow", "deny"] {
            let row = json!({"name": "a", "effect": effect, "approvers": ["token:a"], "approvals": 1});
            assert_eq!(wrong(row), ["approvers", "approvals"], "{effect}");
        }
    }

    #[test]
    fn a_review_row_may_speak_of_reserved_names_by_a_star() {
        let row = json!({"name": "a", "effect": "review", "approvers": ["token:a"], "users": ["system:*"],
            "groups": ["kubeadm:*", "system:masters"], "callers": ["token:*"]});
        assert!(wrong(row).is_empty());
    }

    #[test]
    fn a_deny_row_has_no_lifetime_and_no_keys() {
        let row = json!({"name": "a", "effect": "deny", "max_ttl": "1h", "keys": ["p-256"]});
        assert_eq!(wrong(row), ["max_ttl", "keys"]);
        assert_eq!(with("explain", json!(true)), ["explain"]);
        assert!(wrong(json!({"name": "a", "effect": "deny", "explain": true})).is_empty());
    }

    #[test]
    fn no_row_is_named_as_a_path_of_the_api() {
        for name in ["plan", "evaluate"] {
            assert_eq!(wrong(json!({"name": name, "effect": "allow"})), ["name"]);
        }
        assert!(wrong(json!({"name": "plans", "effect": "allow"})).is_empty());
    }

    #[test]
    fn no_allow_row_is_held() {
        assert_eq!(with("hold", json!(true)), ["hold"]);
        assert!(wrong(json!({"name": "a", "effect": "deny", "hold": true})).is_empty());
    }

    #[test]
    fn a_lifetime_out_of_bounds_is_an_error() {
        for ttl in ["0", "9m59s", "3651d"] {
            assert_eq!(with("max_ttl", json!(ttl)), ["max_ttl"], "{ttl}");
        }
        for ttl in ["10m", "3650d"] {
            assert!(with("max_ttl", json!(ttl)).is_empty(), "{ttl}");
        }
    }

    #[test]
    fn keys_are_known_kinds() {
        assert!(with("keys", json!(["p-256", "rsa-2048", "ed25519"])).is_empty());
        for kind in ["P-256", "rsa", "rsa-1024", "*", ""] {
            assert_eq!(with("keys", json!([kind])), ["keys"], "{kind}");
        }
    }

    #[test]
    fn a_pattern_that_no_name_can_match_is_an_error() {
        for text in ["", " dev", "dev ", "de\u{301}v\u{e9}", "a\nb", "{x}", "{caller}*", "a}"] {
            for field in ["users", "groups", "on_behalf_of"] {
                assert_eq!(with(field, json!([text])), [field], "{text:?}");
            }
        }
        assert_eq!(with("users", json!(["a".repeat(254)])), ["users"]);
    }

    #[test]
    fn caller_needs_one_kind_and_one_source() {
        for callers in [
            json!(["oidc:corp:*", "oidc:other:*"]),
            json!(["oidc:corp:*", "token:a"]),
            json!(["oidc:corp:*", "group:corp:dev"]),
            json!(["oidc:corp:a", "proxy:corp:a"]),
        ] {
            let row = json!({"name": "a", "effect": "allow", "callers": callers, "users": ["{caller}"]});
            assert_eq!(wrong(row), ["users"], "{callers}");
        }
        for callers in
            [json!(["oidc:corp:*", "oidc:corp:a:b"]), json!(["token:*"]), json!(["group:corp:dev"])]
        {
            let row = json!({"name": "a", "effect": "allow", "callers": callers, "users": ["{caller}"],
                "groups": ["home-{caller}"], "on_behalf_of": ["{caller}"]});
            assert_eq!(wrong(row), Vec::<String>::new(), "{callers}");
        }
    }

    #[test]
    fn a_claim_needs_one_kind_and_one_source() {
        let row = |callers: &[&str], field: &str| {
            let mut json = json!({"name": "a", "effect": "allow", "callers": callers, "groups": ["x"]});
            json[field] = json!(["{caller.claim.team}"]);
            wrong(json)
        };
        for field in ["users", "groups", "except_users", "except_groups"] {
            assert_eq!(row(&["oidc:corp:*", "oidc:other:*"], field), [field]);
            assert!(row(&["oidc:corp:*", "oidc:corp:alice"], field).is_empty(), "{field}");
        }
    }

    #[test]
    fn except_lists_hold_patterns_and_need_what_they_are_taken_from() {
        for text in ["", " dev", "a\nb", "{x}", "{caller}*", "a}", "{on_behalf_of}"] {
            assert_eq!(with("except_users", json!([text])), ["except_users"], "{text:?}");
        }
        assert_eq!(with("except_groups", json!(["dev"])), ["except_groups"]);
        let row = json!({"name": "a", "effect": "deny", "users": ["*"], "groups": ["*"], "except_users": ["system:*"],
            "except_groups": ["system:masters", "{caller.groups}"]});
        assert!(wrong(row).is_empty());
    }

    #[test]
    fn a_required_group_is_spelled_out_with_its_source() {
        for text in [
            "dev",
            "group:corp",
            "group:corp:",
            "group:*:dev",
            "group:corp:de*",
            "oidc:corp:alice",
            "token:a",
        ] {
            assert_eq!(with("required_groups", json!([text])), ["required_groups"], "{text}");
        }
        assert!(with("required_groups", json!(["group:corp:dev", "group:corp:a:b"])).is_empty());
    }

    #[test]
    fn windows_are_days_times_and_one_zone() {
        for text in ["mon", "mon 08:00-18:00", "mon 08:00-18:00 Berlin", "mon 18:00 UTC"] {
            assert_eq!(with("when", json!([text])), ["when"], "{text}");
        }
        assert_eq!(with("when", json!(["mon 08:00-18:00 UTC", "tue 08:00-18:00 Europe/Berlin"])), ["when"]);
        assert!(with("when", json!(["mon 08:00-18:00 UTC", "tue 08:00-18:00 UTC"])).is_empty());
        let deny = json!({"name": "a", "effect": "deny", "when": ["sat-sun 00:00-24:00 Europe/Berlin"]});
        assert!(wrong(deny).is_empty());
    }

    #[test]
    fn a_limit_counts_what_an_allow_row_gives() {
        for field in ["max_active", "per_hour"] {
            assert_eq!(with(field, json!(0)), [field]);
            assert!(with(field, json!(1)).is_empty(), "{field}");
            assert_eq!(wrong(json!({"name": "a", "effect": "deny", field: 1})), [field]);
        }
    }

    #[test]
    fn on_behalf_of_needs_a_row_that_has_it() {
        assert_eq!(with("users", json!(["{on_behalf_of}"])), ["users"]);
        let row = json!({"name": "a", "effect": "allow", "users": ["{on_behalf_of}"], "on_behalf_of": ["*"]});
        assert!(wrong(row).is_empty());
        assert_eq!(with("on_behalf_of", json!(["{on_behalf_of}"])), ["on_behalf_of"]);
        assert_eq!(with("on_behalf_of", json!(["{caller.groups}"])), ["on_behalf_of"]);
    }

    #[test]
    fn a_row_that_spells_a_reserved_name_has_no_star_in_users_or_callers() {
        for name in ["system:kube-scheduler", "kubeadm:cluster-admins", "corp:root", "system:nodes"] {
            let row = |users: &str, callers: &str, groups: &str| json!({"name": "a", "effect": "allow", "users": [users], "callers": [callers], "groups": [groups]});
            assert!(wrong(row("alice", "token:a", name)).is_empty(), "{name}");
            assert!(wrong(row(name, "token:a", "*")).is_empty(), "{name}");
            assert_eq!(wrong(row("*", "token:a", name)), ["groups"], "{name}");
            assert_eq!(wrong(row("alice", "token:*", name)), ["groups"], "{name}");
            assert_eq!(wrong(row(name, "oidc:corp:a*", "dev")), ["users"], "{name}");
        }
        let deny =
            json!({"name": "a", "effect": "deny", "users": ["*"], "groups": ["system:masters", "System:x"]});
        assert!(wrong(deny).is_empty());
    }

    #[test]
    fn a_row_that_allows_what_is_never_issued_is_an_error() {
        for name in
            ["system:masters", "system:anonymous", "system:serviceaccount:a:b", "System:masters", "syst em:x"]
        {
            assert_eq!(with("users", json!([name])), ["users"], "{name}");
            assert_eq!(with("groups", json!([name])), ["groups"], "{name}");
        }
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let row = json!({"name": "a", "effect": "deny", "clusters": ["x"], "callers": ["y", "z"], "users": [],
            "groups": ["{"], "max_ttl": "1m", "description": "x".repeat(1_001)});
        let mut fields = wrong(row);
        fields.sort_unstable();
        let expected =
            ["callers", "callers", "clusters", "description", "groups", "max_ttl", "max_ttl", "users"];
        assert_eq!(fields, expected);
    }
}

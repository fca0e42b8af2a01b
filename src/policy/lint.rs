//! What a person should look at in a set that is sound: rows that do nothing, and rows that give more
//! than they seem to.

use std::fmt;

use super::Effect;
use super::bindings::Subject;
use super::callers::{CallerPattern, Subject as CallerSubject};
use super::pattern::{Pattern, Variable};
use super::reserved::NameClass;
use super::rule::Rule;
use super::set::{ClusterIndex, Clusters, PolicySet};
use crate::caller::CallerKind;
use crate::pki::name::{Name, ShortName};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something is hardly meant so.
    Warning,
    /// Something to know.
    Note,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Warning { "warning" } else { "note" })
    }
}

/// One thing to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// The row's name.
    pub row: ShortName,
    /// The field's name.
    pub field: &'static str,
    /// One sentence.
    pub reason: String,
}

/// Looks at every enabled row of `set`, which is compiled for `clusters`. `powerful` are those whom
/// the clusters' RBAC gives power. Warnings first, then by row.
#[must_use]
pub fn lint(set: &PolicySet, clusters: &Clusters, powerful: &[Subject]) -> Vec<Finding> {
    let enabled = || set.rules.iter().filter(|rule| rule.enabled);
    let mut findings = Vec::new();
    for rule in enabled() {
        let mut look = Look { set, clusters, rule, findings: Vec::new() };
        look.clusters();
        if rule.effect == Effect::Allow {
            look.reserved();
            look.token_facts();
            look.shadowed();
            look.bare_users();
            for subject in powerful {
                look.powerful(subject);
            }
        }
        findings.extend(look.findings);
    }
    findings.sort();
    findings
}

/// One row.
struct Look<'a> {
    set: &'a PolicySet,
    clusters: &'a Clusters,
    rule: &'a Rule,
    findings: Vec<Finding>,
}

impl<'a> Look<'a> {
    fn find(&mut self, level: Level, field: &'static str, reason: String) {
        self.findings.push(Finding { level, row: self.rule.name.clone(), field, reason });
    }

    /// The configured clusters that the row speaks of.
    fn covered(&self) -> impl Iterator<Item = (bool, &'a ClusterIndex)> {
        let (set, rule) = (self.set, self.rule);
        let covered = self.clusters.rules.iter().filter(|rules| rule.covers_cluster(&rules.name));
        covered.filter_map(|rules| Some((rules.node_identities, set.clusters.get(&rules.name)?)))
    }

    fn clusters(&mut self) {
        if self.covered().next().is_none() {
            let reason = "no configured cluster matches, so this row never does".to_owned();
            self.find(Level::Warning, "clusters", reason);
        }
    }

    /// Patterns under a reserved prefix, and node identities where no cluster takes them.
    fn reserved(&mut self) {
        let rule = self.rule;
        for (field, pattern) in named(rule) {
            let text = pattern.as_str();
            let start = pattern.literal_start();
            let all_reserved = || self.covered().all(|(_, index)| index.reserved.reserve_all(start));
            if !pattern.is_literal() && self.covered().next().is_some() && all_reserved() {
                let why =
                    "every name that it matches is reserved, and only a row that spells a reserved name out";
                self.find(Level::Warning, field, format!("`{text}` never matches: {why} gives it"));
            }
            let is_node = |index: &ClusterIndex| {
                Name::parse(text).is_ok_and(|name| index.reserved.class(&name) == NameClass::NodeIdentity)
            };
            let no_cluster_takes = !self.covered().any(|(takes_nodes, index)| takes_nodes || !is_node(index));
            if pattern.is_literal() && self.covered().next().is_some() && no_cluster_takes {
                let why = "it is a node or bootstrap identity, and no cluster of this row takes any";
                self.find(Level::Warning, field, format!("`{text}` never matches: {why}"));
            }
        }
    }

    /// A token shows no groups of its own, and makes no claims.
    fn token_facts(&mut self) {
        let is_token = |caller: &CallerPattern| caller.subject == CallerSubject::Caller(CallerKind::Token);
        if !self.rule.callers.iter().all(is_token) {
            return;
        }
        if !self.rule.required_groups.is_empty() {
            let reason = "the row never matches: API tokens show no groups".to_owned();
            self.find(Level::Warning, "required_groups", reason);
        }
        for (field, pattern) in named(self.rule) {
            let lacks = match pattern.variable() {
                Some(Variable::CallerGroups) => "show no groups",
                Some(Variable::Claim(_)) => "make no claims",
                _ => continue,
            };
            let reason = format!("`{}` never matches: API tokens {lacks}", pattern.as_str());
            self.find(Level::Warning, field, reason);
        }
    }

    /// A deny row that covers all of it.
    fn shadowed(&mut self) {
        let rule = self.rule;
        let whole = |deny: &&Rule| {
            denies_all_of(deny, rule)
                && covers_all(&deny.users, &rule.users)
                && deny.groups.as_ref().is_none_or(|groups| groups.iter().any(Pattern::is_any))
        };
        if let Some(deny) = self.denying().find(whole) {
            let reason = format!("the deny row `{}` covers all of it, so it gives nothing", deny.name);
            self.find(Level::Warning, "effect", reason);
        }
    }

    /// A row with groups gives the bare user name too, which is easily forgotten.
    fn bare_users(&mut self) {
        let rule = self.rule;
        if rule.groups.is_none() {
            return;
        }
        let some = |test: fn(&Pattern) -> bool| {
            let texts = rule.users.iter().filter(|pattern| test(pattern));
            texts.map(|pattern| format!("`{}`", pattern.as_str())).collect::<Vec<_>>().join(", ")
        };
        let why =
            "can be had without any of the groups too: what a cluster binds to a user name goes with it";
        for (level, users) in
            [(Level::Warning, some(Pattern::has_star)), (Level::Note, some(Pattern::is_literal))]
        {
            if !users.is_empty() {
                self.find(level, "users", format!("{users} {why}"));
            }
        }
    }

    /// What the row gives of a user or group that a cluster's RBAC makes powerful.
    fn powerful(&mut self, subject: &Subject) {
        let rule = self.rule;
        let Ok(name) = Name::parse(&subject.name) else { return };
        let (field, patterns) = if subject.is_group {
            ("groups", rule.groups.as_deref().unwrap_or_default())
        } else {
            ("users", rule.users.as_slice())
        };
        let is = |pattern: &&Pattern| pattern.matches(&subject.name, |_, _| false);
        let except = if subject.is_group { &rule.except_groups } else { &rule.except_users };
        let matching = patterns.iter().find(is).filter(|_| !except.iter().any(|pattern| is(&pattern)));
        let Some(pattern) = matching.filter(|pattern| self.gives(pattern, &name)) else { return };
        if self.denying().any(|deny| denies_all_of(deny, rule) && denies(deny, rule, subject)) {
            return;
        }
        let powers: Vec<&str> = subject.powers.iter().map(|power| power.as_str()).collect();
        let kind = if subject.is_group { "group" } else { "user" };
        let (level, reaches) =
            if pattern.is_literal() { (Level::Note, "gives") } else { (Level::Warning, "reaches") };
        let reason = format!(
            "`{}` {reaches} the {kind} `{}`, whom the binding `{}` to `{}` lets {}",
            pattern.as_str(),
            subject.name,
            subject.binding,
            subject.role,
            powers.join(", ")
        );
        self.find(level, field, reason);
    }

    /// Whether a pattern of the row gives `name` on one of its clusters, for all that is reserved.
    fn gives(&self, pattern: &Pattern, name: &Name) -> bool {
        self.covered().any(|(takes_nodes, index)| match index.reserved.class(name) {
            NameClass::Ordinary => true,
            NameClass::Reserved => pattern.is_literal(),
            NameClass::NodeIdentity => pattern.is_literal() && takes_nodes,
            NameClass::NeverIssued | NameClass::LooksReserved => false,
        })
    }

    fn denying(&self) -> impl Iterator<Item = &'a Rule> + use<'a> {
        self.set.rules.iter().filter(|rule| rule.enabled && rule.effect == Effect::Deny)
    }
}

/// Every pattern of a name that a certificate carries, with its field.
fn named(rule: &Rule) -> impl Iterator<Item = (&'static str, &Pattern)> {
    let users = rule.users.iter().map(|pattern| ("users", pattern));
    users.chain(rule.groups.iter().flatten().map(|pattern| ("groups", pattern)))
}

/// Whether `deny` speaks of every caller, cluster and person that `rule` does.
fn denies_all_of(deny: &Rule, rule: &Rule) -> bool {
    let caller = |specific: &CallerPattern| {
        deny.callers.iter().any(|general| {
            general.subject == specific.subject
                && general.source == specific.source
                && covers(&general.name, &specific.name)
        })
    };
    let always = deny.people.is_none() && !deny.is_narrowed();
    always && covers_all(&deny.clusters, &rule.clusters) && rule.callers.iter().all(caller)
}

/// Whether `deny` refuses `subject` to everybody to whom `rule` gives it.
fn denies(deny: &Rule, rule: &Rule, subject: &Subject) -> bool {
    let is = |pattern: &Pattern| pattern.matches(&subject.name, |_, _| false);
    if subject.is_group {
        let groups = deny.groups.as_ref();
        return covers_all(&deny.users, &rule.users) && groups.is_none_or(|groups| groups.iter().any(is));
    }
    let whole = deny.groups.as_ref().is_none_or(|groups| groups.iter().any(Pattern::is_any));
    whole && deny.users.iter().any(is)
}

fn covers_all(general: &[Pattern], specific: &[Pattern]) -> bool {
    specific.iter().all(|specific| general.iter().any(|general| covers(general, specific)))
}

/// Whether everything that `specific` matches is matched by `general`. Where that is not seen at
/// once, no.
fn covers(general: &Pattern, specific: &Pattern) -> bool {
    let begins = || specific.literal_start().starts_with(general.literal_start());
    general.is_any()
        || general == specific
        || (general.is_open_ended() && begins())
        || (specific.is_literal() && general.matches(specific.as_str(), |_, _| false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::bindings::Power;
    use crate::policy::testing::{clusters, set};
    use serde_json::{Value, json};

    /// Level, row and field of each finding.
    fn found(rows: &Value, powerful: &[Subject]) -> Vec<String> {
        let findings = lint(&set(rows), &clusters(), powerful);
        findings.iter().map(|one| format!("{} {} {}", one.level, one.row, one.field)).collect()
    }

    fn subject(is_group: bool, name: &str) -> Subject {
        Subject {
            is_group,
            name: name.to_owned(),
            binding: "b".to_owned(),
            role: "cluster-admin".to_owned(),
            powers: vec![Power::ClusterAdmin],
        }
    }

    #[test]
    fn a_row_that_never_matches_is_found() {
        for (row, field) in [
            (json!({"clusters": ["staging-*"]}), "clusters"),
            (json!({"effect": "deny", "clusters": ["staging-*"]}), "clusters"),
            (json!({"users": ["system:*"]}), "users"),
            (json!({"users": ["corp:*"]}), "users"),
            (json!({"groups": ["kubeadm:*"], "users": ["{caller}"]}), "groups"),
            (json!({"groups": ["system:nodes"], "users": ["{caller}"]}), "groups"),
            (json!({"groups": ["{caller.groups}"], "users": ["{caller}"]}), "groups"),
            (json!({"groups": ["{caller.claim.team}"], "users": ["{caller}"]}), "groups"),
            (json!({"required_groups": ["group:corp:on-call"]}), "required_groups"),
        ] {
            assert_eq!(found(&json!([row]), &[]), [format!("warning row-0 {field}")], "{row}");
        }
        for row in [
            json!({"clusters": ["pr*"]}),
            json!({"users": ["corp:*"], "clusters": ["*"]}),
            json!({"users": ["system-*"]}),
            json!({"effect": "deny", "users": ["system:*"]}),
            json!({"groups": ["{caller.groups}"], "users": ["{caller}"], "callers": ["oidc:corp:*"]}),
            json!({"clusters": ["staging-*"], "enabled": false}),
        ] {
            assert_eq!(found(&json!([row]), &[]), Vec::<String>::new(), "{row}");
        }
    }

    #[test]
    fn a_row_under_a_deny_row_that_covers_it_is_found() {
        let allow = json!({"name": "a", "users": ["team-x"], "callers": ["token:ci-*"]});
        let under = |deny: Value| found(&json!([allow, deny]), &[]) == ["warning a effect"];
        assert!(under(
            json!({"effect": "deny", "users": ["team-*"], "callers": ["token:*"], "clusters": ["*"]})
        ));
        assert!(under(
            json!({"effect": "deny", "users": ["team-x"], "callers": ["token:ci-*"], "groups": ["*"]})
        ));
        for deny in [
            json!({"effect": "deny", "users": ["other-*"], "callers": ["token:*"]}),
            json!({"effect": "deny", "users": ["*"], "callers": ["token:ci-1"]}),
            json!({"effect": "deny", "users": ["*"], "callers": ["token:*"], "groups": ["root"]}),
            json!({"effect": "deny", "users": ["*"], "callers": ["token:*"], "clusters": ["dev"]}),
            json!({"effect": "deny", "users": ["*"], "callers": ["token:*"], "on_behalf_of": ["bob"]}),
            json!({"effect": "deny", "users": ["*"], "callers": ["token:*"], "enabled": false}),
            json!({"effect": "deny", "users": ["*"], "callers": ["token:*"], "except_users": ["team-x"]}),
            json!({"effect": "deny", "users": ["*"], "callers": ["token:*"], "required_groups": ["group:corp:dev"]}),
            json!({"effect": "deny", "users": ["*"], "callers": ["token:*"], "when": ["sat-sun 00:00-24:00 UTC"]}),
        ] {
            assert!(!under(deny.clone()), "{deny}");
        }
    }

    #[test]
    fn users_that_can_be_had_without_groups_are_found() {
        assert_eq!(found(&json!([{"users": ["ci-*"], "groups": ["ci"]}]), &[]), ["warning row-0 users"]);
        assert_eq!(found(&json!([{"users": ["pod-viewer"], "groups": ["app"]}]), &[]), ["note row-0 users"]);
        assert!(found(&json!([{"users": ["{caller}"], "groups": ["dev"]}]), &[]).is_empty());
        assert!(found(&json!([{"users": ["ci-*"]}]), &[]).is_empty());
    }

    #[test]
    fn a_wildcard_that_reaches_a_powerful_subject_is_found() {
        let powerful =
            [subject(true, "oncall"), subject(false, "root-bob"), subject(true, "kubeadm:cluster-admins")];
        let row = json!({"users": ["{caller}"], "groups": ["on*"]});
        assert_eq!(found(&json!([row]), &powerful), ["warning row-0 groups"]);
        assert_eq!(found(&json!([{"users": ["root-*"]}]), &powerful), ["warning row-0 users"]);
        let spelled_out = json!({"users": ["root-bob"], "groups": ["oncall", "kubeadm:cluster-admins"]});
        assert_eq!(
            found(&json!([spelled_out]), &powerful),
            ["note row-0 groups", "note row-0 groups", "note row-0 users", "note row-0 users"]
        );
        assert!(
            found(&json!([{"users": ["{caller}"], "groups": ["kube*", "team-*"]}]), &powerful).is_empty()
        );
        let left_out = json!({"users": ["{caller}"], "groups": ["on*"], "except_groups": ["oncall"]});
        assert!(found(&json!([left_out]), &powerful).is_empty());
        let finding = lint(&set(&json!([row])), &clusters(), &powerful).remove(0);
        assert_eq!(
            finding.reason,
            "`on*` reaches the group `oncall`, whom the binding `b` to `cluster-admin` lets do everything"
        );
    }

    #[test]
    fn what_a_deny_row_refuses_is_not_reached() {
        let powerful = [subject(true, "oncall"), subject(false, "root-bob")];
        let row = json!({"users": ["{caller}", "root-*"], "groups": ["*"]});
        let with = |deny: Value| {
            found(&json!([row, deny]), &powerful).into_iter().filter(|one| one.contains("row-0")).count()
        };
        assert_eq!(with(json!({"effect": "deny", "users": ["x"]})), 3);
        assert_eq!(with(json!({"effect": "deny", "users": ["*"], "groups": ["oncall"]})), 2);
        assert_eq!(with(json!({"effect": "deny", "users": ["root-bob"]})), 2);
        assert_eq!(with(json!({"effect": "deny", "users": ["alice"], "groups": ["oncall"]})), 3);
    }
}

//! Who a cluster's RBAC makes powerful: read out of what `kubectl get clusterrolebindings,clusterroles
//! -o json` prints.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What a role lets its subjects become, directly or by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Power {
    /// Everything on everything.
    ClusterAdmin,
    /// More rights than one's own, written into a role.
    Escalate,
    /// Any role, bound to oneself.
    Bind,
    /// Another user.
    Impersonate,
    /// Certificates for any name, from the cluster's own signers.
    ApproveCertificates,
}

impl Power {
    /// What somebody with it can do.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterAdmin => "do everything",
            Self::Escalate => "escalate roles",
            Self::Bind => "bind roles",
            Self::Impersonate => "impersonate",
            Self::ApproveCertificates => "approve certificate requests",
        }
    }
}

/// A user or group that a binding makes powerful.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Whether it is a group; else it is a user.
    pub is_group: bool,
    /// Its name.
    pub name: String,
    /// The binding.
    pub binding: String,
    /// The role that it binds.
    pub role: String,
    /// What that lets it do.
    pub powers: Vec<Power>,
}

/// The subjects of all bindings of `text` to roles that give a [`Power`], sorted. Service accounts are
/// left out: no policy row gives their names.
///
/// # Errors
/// It is not what kubectl prints, or it has bindings without their roles.
pub fn read(text: &[u8]) -> Result<Vec<Subject>, String> {
    let list: List = serde_json::from_slice(text).map_err(|error| {
        format!("not what `kubectl get clusterrolebindings,clusterroles -o json` prints: {error}")
    })?;
    let of_kind = |kind: &'static str| list.items.iter().filter(move |item| item.kind == kind);
    let roles: BTreeMap<&str, Vec<Power>> =
        of_kind("ClusterRole").map(|role| (role.metadata.name.as_str(), role.powers())).collect();
    let mut subjects = Vec::new();
    for binding in of_kind("ClusterRoleBinding") {
        let Some(role) = binding.role_ref.as_ref().filter(|role| role.kind == "ClusterRole") else {
            continue;
        };
        // A binding to a role that does not exist gives nothing, but without any role in the file the
        // half of what is needed was asked for.
        let powers = roles.get(role.name.as_str()).cloned().unwrap_or_default();
        let named = binding.subjects.iter().flatten();
        let named = named.filter(|_| !powers.is_empty());
        subjects.extend(named.filter(|subject| matches!(subject.kind.as_str(), "User" | "Group")).map(
            |subject| Subject {
                is_group: subject.kind == "Group",
                name: subject.name.clone(),
                binding: binding.metadata.name.clone(),
                role: role.name.clone(),
                powers: powers.clone(),
            },
        ));
    }
    if roles.is_empty() || of_kind("ClusterRoleBinding").next().is_none() {
        return Err("it has no ClusterRole or no ClusterRoleBinding: ask kubectl for both".to_owned());
    }
    subjects.sort();
    Ok(subjects)
}

#[derive(Deserialize)]
struct List {
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    kind: String,
    metadata: Metadata,
    role_ref: Option<RoleRef>,
    subjects: Option<Vec<SubjectRef>>,
    rules: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
struct RoleRef {
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct SubjectRef {
    kind: String,
    name: String,
}

/// A `PolicyRule` (k8s.io/api/rbac/v1). A rule that names resources one by one counts too: which
/// they are is not looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    api_groups: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
}

const RBAC: &str = "rbac.authorization.k8s.io";
const ROLES: [&str; 2] = ["clusterroles", "roles"];
const CERTIFICATES: &str = "certificates.k8s.io";

impl Item {
    fn powers(&self) -> Vec<Power> {
        let rules = || self.rules.iter().flatten();
        let some = |test: fn(&Rule) -> bool| rules().any(test);
        let found = [
            (Power::ClusterAdmin, some(Rule::is_everything)),
            (Power::Escalate, some(|rule| rule.may("escalate", RBAC, &ROLES))),
            (Power::Bind, some(|rule| rule.may("bind", RBAC, &ROLES))),
            (Power::Impersonate, some(Rule::impersonates)),
            (Power::ApproveCertificates, some(Rule::approves)),
        ];
        // Who may do everything may do the rest as well.
        if let Some((power, true)) = found.first() {
            return vec![*power];
        }
        found.into_iter().filter(|(_, is)| *is).map(|(power, _)| power).collect()
    }
}

impl Rule {
    fn is_everything(&self) -> bool {
        [&self.verbs, &self.api_groups, &self.resources].into_iter().all(|list| has(list, "*"))
    }

    fn may(&self, verb: &str, group: &str, resources: &[&str]) -> bool {
        let any = |list: &[String], wanted: &str| has(list, "*") || has(list, wanted);
        let subresource = |resource: &str| resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        let covers = |resource: &&str| {
            any(&self.resources, resource)
                || subresource(resource).is_some_and(|all| has(&self.resources, &all))
        };
        any(&self.verbs, verb) && any(&self.api_groups, group) && resources.iter().any(covers)
    }

    fn impersonates(&self) -> bool {
        self.may("impersonate", "", &["users", "groups", "serviceaccounts"])
    }

    /// k8s.io/kubernetes/plugin/pkg/admission/certificates/approval asks for `approve` on the signer
    /// too, which whoever may write approvals mostly has.
    fn approves(&self) -> bool {
        let write = |verb| self.may(verb, CERTIFICATES, &["certificatesigningrequests/approval"]);
        write("update") || write("patch")
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn role(name: &str, rules: &Value) -> Value {
        json!({"kind": "ClusterRole", "metadata": {"name": name}, "rules": rules})
    }

    fn binding(name: &str, role: &str, subjects: &Value) -> Value {
        let reference = json!({"apiGroup": RBAC, "kind": "ClusterRole", "name": role});
        json!({"kind": "ClusterRoleBinding", "metadata": {"name": name}, "roleRef": reference, "subjects": subjects})
    }

    fn subjects(items: &[Value]) -> Result<Vec<Subject>, String> {
        read(json!({"kind": "List", "items": items}).to_string().as_bytes())
    }

    #[test]
    fn powers_are_read_from_the_rules_of_a_role() {
        let rule = |verbs: Value, groups: Value, resources: Value| json!([{"verbs": verbs, "apiGroups": groups, "resources": resources}]);
        for (rules, powers) in [
            (rule(json!(["*"]), json!(["*"]), json!(["*"])), vec![Power::ClusterAdmin]),
            (
                rule(json!(["escalate", "bind"]), json!([RBAC]), json!(["clusterroles"])),
                vec![Power::Escalate, Power::Bind],
            ),
            (rule(json!(["*"]), json!([RBAC]), json!(["*"])), vec![Power::Escalate, Power::Bind]),
            (rule(json!(["impersonate"]), json!([""]), json!(["groups"])), vec![Power::Impersonate]),
            (
                rule(json!(["patch"]), json!([CERTIFICATES]), json!(["certificatesigningrequests/approval"])),
                vec![Power::ApproveCertificates],
            ),
            (rule(json!(["update"]), json!(["*"]), json!(["*/approval"])), vec![Power::ApproveCertificates]),
        ] {
            let found =
                subjects(&[role("r", &rules), binding("b", "r", &json!([{"kind": "User", "name": "u"}]))]);
            assert_eq!(found.unwrap()[0].powers, powers, "{rules}");
        }
        for rules in [
            rule(json!(["get", "list"]), json!(["*"]), json!(["*"])),
            rule(json!(["update"]), json!([CERTIFICATES]), json!(["certificatesigningrequests"])),
            rule(json!(["bind"]), json!(["apps"]), json!(["*"])),
            Value::Null,
            json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]),
        ] {
            let found =
                subjects(&[role("r", &rules), binding("b", "r", &json!([{"kind": "User", "name": "u"}]))]);
            assert_eq!(found, Ok(vec![]), "{rules}");
        }
    }

    #[test]
    fn users_and_groups_of_bindings_to_such_roles_are_found() {
        let everything = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
        let found = subjects(&[
            role("cluster-admin", &everything),
            role("view", &json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}])),
            binding(
                "root",
                "cluster-admin",
                &json!([
                    {"kind": "Group", "name": "oncall"}, {"kind": "User", "name": "root"},
                    {"kind": "ServiceAccount", "name": "robot", "namespace": "ci"},
                ]),
            ),
            binding("readers", "view", &json!([{"kind": "Group", "name": "everybody"}])),
            binding("nobody", "cluster-admin", &Value::Null),
            binding("dangling", "gone", &json!([{"kind": "User", "name": "x"}])),
        ])
        .unwrap();
        let named: Vec<_> =
            found.iter().map(|one| (one.is_group, one.name.as_str(), one.binding.as_str())).collect();
        assert_eq!(named, [(false, "root", "root"), (true, "oncall", "root")]);
    }

    #[test]
    fn half_of_what_is_needed_is_an_error() {
        assert!(read(b"{}").is_err());
        assert!(read(b"kind: List").is_err());
        assert!(subjects(&[role("r", &json!([]))]).unwrap_err().contains("both"));
        assert!(subjects(&[binding("b", "r", &json!([]))]).unwrap_err().contains("both"));
    }
}

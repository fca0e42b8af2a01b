//! A row of the policy table, as it is written and as it is stored.

use serde::{Deserialize, Deserializer, Serialize};

use crate::pki::name::ShortName;
use crate::time::Lifetime;

/// What a row does to the claims that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Gives them, up to its `max_ttl`.
    Allow,
    /// Holds a request that is allowed until its `approvers` approve it.
    Review,
    /// Refuses the request.
    Deny,
}

/// One row, in YAML, in JSON and in the database alike. An absent field is left out when it is
/// written, so that what was read can be sent back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the file")]
pub struct PolicyRow {
    /// Unique in the set.
    pub name: ShortName,
    /// Allow, review or deny.
    pub effect: Effect,
    /// Patterns of cluster names; one without `*` is a configured cluster.
    pub clusters: Vec<String>,
    /// Patterns as `token:portal`, `oidc:corp:*` or `group:corp:admins`.
    pub callers: Vec<String>,
    /// Patterns of the user name that the certificate carries.
    pub users: Vec<String>,
    /// Patterns of groups; without them the row speaks of the user name alone.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Patterns of user names of which the row does not speak, whatever `users` says.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub except_users: Option<Vec<String>>,
    /// Patterns of groups of which the row does not speak, whatever `groups` says.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub except_groups: Option<Vec<String>>,
    /// Groups of the caller's own, as `group:corp:on-call`: all of them are needed.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub required_groups: Option<Vec<String>>,
    /// When the row is in force, as `mon-fri 08:00-18:00 Europe/Berlin`; without it always.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub when: Option<Vec<String>>,
    /// Patterns of the person that a portal names.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Vec<String>>,
    /// Whether an allow row gives only where the named person's own token comes with the request.
    #[serde(default, skip_serializing_if = "is_false")]
    pub proof: bool,
    /// The longest lifetime that an allow row gives; without it the cluster's.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub max_ttl: Option<Lifetime>,
    /// How many certificates of one user name that an allow row gave may live at once.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub max_active: Option<u32>,
    /// How many certificates an allow row gives to one user name in an hour.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u32>,
    /// Kinds of keys that an allow row takes, as `p-256`; without them every accepted kind.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
    /// Who approves what a review row holds: patterns as in `callers`, or `cli:USER` for a user of the
    /// operating system.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub approvers: Option<Vec<String>>,
    /// How many of them a review row wants; without it one.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub approvals: Option<u32>,
    /// For people.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A row that is not enabled is checked and kept, and decides nothing.
    #[serde(default = "enabled", skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// Whether a deny row tells the requester its name and description.
    #[serde(default, skip_serializing_if = "is_false")]
    pub explain: bool,
    /// Whether an allow row speaks of renewals: of callers that show a certificate of ours, and of no
    /// others.
    #[serde(default, skip_serializing_if = "is_false")]
    pub renew: bool,
    /// Whether a deny row goes or changes only by its own name, never with the whole set.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hold: bool,
}

/// A field that is there has a value: `keys:` with nothing after it must not mean "every kind".
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn enabled() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PolicyFile;

    const FILE: &str = "
policies:
- name: dev
  effect: allow
  clusters: [prod]
  callers: ['oidc:corp:*']
  users: ['{caller}']
  groups: [dev, yes, 'null']
  except_users: [bob]
  except_groups: ['*-admin']
  required_groups: ['group:corp:on-call']
  when: ['mon-fri 08:00-18:00 Europe/Berlin', 'sat 10:00-12:00 Europe/Berlin']
  max_active: 3
  per_hour: 10
  max_ttl: 90m
  keys: [p-256]
- name: no-root
  effect: deny
  clusters: ['*']
  callers: ['token:portal']
  users: [root]
  enabled: false
  explain: true
  description: |
    Nobody is root.
";

    #[test]
    fn yaml_and_json_give_the_same_rows() {
        let from_yaml: PolicyFile = serde_saphyr::from_str(FILE).expect("rows");
        let json = serde_json::to_string(&from_yaml).expect("json");
        assert_eq!(serde_json::from_str::<PolicyFile>(&json).expect("rows"), from_yaml);
        let yaml = serde_saphyr::to_string(&from_yaml).expect("yaml");
        assert_eq!(serde_saphyr::from_str::<PolicyFile>(&yaml).expect("rows"), from_yaml);
        assert_eq!(from_yaml.policies[0].groups, Some(vec!["dev".into(), "yes".into(), "null".into()]));
        assert_eq!(from_yaml.policies[0].max_ttl, Some(Lifetime::from_seconds(5_400)));
    }

    #[test]
    fn absent_fields_are_left_out() {
        let rows: PolicyFile = serde_saphyr::from_str(FILE).expect("rows");
        let json = serde_json::to_value(&rows.policies[1]).expect("json");
        let fields: Vec<&str> = json.as_object().expect("a mapping").keys().map(String::as_str).collect();
        let written = ["callers", "clusters", "description", "effect", "enabled", "explain", "name", "users"];
        let mut fields = fields;
        fields.sort_unstable();
        assert_eq!(fields, written);
    }

    fn with(line: &str) -> String {
        let row =
            "policies:\n- name: a\n  effect: allow\n  clusters: [prod]\n  callers: [token:a]\n  users: [a]\n";
        format!("{row}  {line}\n")
    }

    #[test]
    fn a_field_without_a_value_is_an_error() {
        for field in [
            "groups",
            "except_users",
            "except_groups",
            "required_groups",
            "when",
            "on_behalf_of",
            "max_ttl",
            "max_active",
            "per_hour",
            "keys",
            "approvers",
            "approvals",
        ] {
            for line in [format!("{field}:"), format!("{field}: null"), format!("{field}: ~")] {
                let read = serde_saphyr::from_str::<PolicyFile>(&with(&line));
                let empty = read.map(|file| {
                    let row = &file.policies[0];
                    let lists = [&row.groups, &row.except_users, &row.except_groups, &row.required_groups];
                    let more = [&row.when, &row.on_behalf_of, &row.keys, &row.approvers];
                    lists.into_iter().chain(more).any(|list| *list == Some(vec![]))
                });
                assert!(empty.unwrap_or(true), "{line}");
            }
            let json = format!(
                r#"{{"policies":[{{"name":"a","effect":"allow","clusters":["prod"],"callers":["token:a"],"users":["a"],"{field}":null}}]}}"#
            );
            assert!(serde_json::from_str::<PolicyFile>(&json).is_err(), "{json}");
        }
    }

    #[test]
    fn unknown_and_repeated_fields_are_errors() {
        for line in [
            "group: [a]",
            "users: [b]",
            "effect: deny",
            "max_ttl: 8 hours",
            "max_ttl: -1",
            "enabled: maybe",
            "except: [a]",
            "when: mon-fri 08:00-18:00 UTC",
            "max_active: -1",
            "per_hour: 1.5",
        ] {
            assert!(serde_saphyr::from_str::<PolicyFile>(&with(line)).is_err(), "{line}");
        }
        for effect in ["Allow", "permit"] {
            assert!(serde_saphyr::from_str::<PolicyFile>(&with("").replace("allow", effect)).is_err());
        }
        assert!(serde_saphyr::from_str::<PolicyFile>(&with("max_ttl: 3600")).is_ok());
    }
}

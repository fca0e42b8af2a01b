//! What callers may do here: a token says so itself, for everybody else the configuration does.

use serde::Deserialize;

use super::sources::Sources;
use crate::caller::{Caller, CallerKind};
use crate::policy::callers::{CallerPattern, Subject};
use crate::policy::pattern::Star;

/// What a caller may do here. Nothing to do with Kubernetes groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "a caller has any of them together")]
pub struct Roles {
    /// May ask for certificates, and read its own records.
    pub requester: bool,
    /// May read every record.
    pub auditor: bool,
    /// May change the policy table.
    pub admin: bool,
    /// May approve held requests, where a review row names it.
    pub approver: bool,
}

impl Roles {
    /// The roles of these words; none for an unknown word. No word is no role.
    pub fn parse(words: &[String]) -> Option<Self> {
        let mut roles = Self::default();
        for word in words {
            match word.as_str() {
                "requester" => roles.requester = true,
                "auditor" => roles.auditor = true,
                "admin" => roles.admin = true,
                "approver" => roles.approver = true,
                _ => return None,
            }
        }
        Some(roles)
    }

    /// The words of these roles, always in the same order.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        let roles = [
            ("requester", self.requester),
            ("auditor", self.auditor),
            ("admin", self.admin),
            ("approver", self.approver),
        ];
        roles.into_iter().filter_map(|(word, has)| has.then_some(word)).collect()
    }

    fn or(self, other: Self) -> Self {
        Self {
            requester: self.requester || other.requester,
            auditor: self.auditor || other.auditor,
            admin: self.admin || other.admin,
            approver: self.approver || other.approver,
        }
    }
}

/// One `[[roles]]` table of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleBinding {
    /// `requester`, `auditor`, `admin` or `approver`.
    pub role: String,
    /// Who has it, as `oidc:corp:*` or `group:corp:portal-users`: kind and source are literal.
    pub callers: Vec<String>,
    /// Whether these callers may name another person in a request.
    #[serde(default)]
    pub on_behalf_of: bool,
}

/// Every binding, checked. Who is in none of them has no role.
#[derive(Clone, Debug, Default)]
pub struct RoleBindings(Vec<Bound>);

#[derive(Clone, Debug)]
struct Bound {
    roles: Roles,
    on_behalf_of: bool,
    callers: Vec<CallerPattern>,
}

impl RoleBindings {
    /// Checks every entry against the configured ways to authenticate.
    ///
    /// # Errors
    /// The key's path and what is wrong with its value.
    pub fn new(bindings: &[RoleBinding], sources: &Sources) -> Result<Self, String> {
        let bound = bindings.iter().enumerate().map(|(index, binding)| {
            Bound::new(binding, sources).map_err(|reason| format!("roles[{index}].{reason}"))
        });
        bound.collect::<Result<_, _>>().map(Self)
    }

    /// The roles that the configuration gives to `caller`. Never any to a token, which has its own, nor
    /// to a certificate of ours.
    #[must_use]
    pub fn roles_of(&self, caller: &Caller) -> Roles {
        self.of(caller).fold(Roles::default(), |roles, bound| roles.or(bound.roles))
    }

    /// Whether `caller` may name another person.
    #[must_use]
    pub fn may_name_persons(&self, caller: &Caller) -> bool {
        self.of(caller).any(|bound| bound.on_behalf_of)
    }

    fn of<'b>(&'b self, caller: &'b Caller) -> impl Iterator<Item = &'b Bound> {
        let bindable = !matches!(caller.kind, CallerKind::Token | CallerKind::Certificate);
        self.0
            .iter()
            .filter(move |bound| bindable && bound.callers.iter().any(|pattern| pattern.matches(caller)))
    }
}

impl Bound {
    fn new(binding: &RoleBinding, sources: &Sources) -> Result<Self, String> {
        let roles = Roles::parse(std::slice::from_ref(&binding.role));
        let roles = roles.ok_or("role: it is one of requester, auditor, admin and approver")?;
        if binding.on_behalf_of && !roles.requester {
            return Err("on_behalf_of: only a requester names persons".to_owned());
        }
        if binding.callers.is_empty() {
            return Err("callers: an empty list binds nobody: leave the table out".to_owned());
        }
        let callers = binding.callers.iter().enumerate().map(|(index, text)| {
            bindable(text, sources).map_err(|reason| format!("callers[{index}]: `{text}`: {reason}"))
        });
        let callers = callers.collect::<Result<_, _>>()?;
        Ok(Self { roles, on_behalf_of: binding.on_behalf_of, callers })
    }
}

fn bindable(text: &str, sources: &Sources) -> Result<CallerPattern, String> {
    let pattern = CallerPattern::parse(text, Star::Segment).map_err(|error| error.to_string())?;
    match (pattern.subject, &pattern.source) {
        (Subject::Caller(CallerKind::Token), _) => {
            Err("a token has the roles that it was made with: see `countersign token create --role`"
                .to_owned())
        }
        (Subject::Caller(CallerKind::Certificate), _) => {
            Err("a certificate of ours opens renewal only and never has a role".to_owned())
        }
        (Subject::Caller(kind), Some(source)) if sources.are(kind, source) => Ok(pattern),
        (Subject::Group, Some(source)) if sources.show_groups(source) => Ok(pattern),
        (_, source) => {
            let source = source.as_ref().map_or("", |source| source.as_str());
            Err(format!("there is no way to authenticate of this kind named `{source}`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::name::ShortName;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    fn sources() -> Sources {
        let name = |text| ShortName::parse(text).unwrap();
        let mut sources = Sources::beside([name("prod")]);
        sources.add(CallerKind::Oidc, &name("corp")).unwrap();
        sources.add(CallerKind::Proxy, &name("edge")).unwrap();
        sources.add(CallerKind::ServiceAccount, &name("prod")).unwrap();
        sources
    }

    fn bind(role: &str, callers: &[&str], on_behalf_of: bool) -> Result<RoleBindings, String> {
        let binding = RoleBinding { role: role.to_owned(), callers: words(callers), on_behalf_of };
        RoleBindings::new(&[binding], &sources())
    }

    fn caller(text: &str, groups: &[&str]) -> Caller {
        let groups = groups.iter().map(|group| crate::caller::CallerGroup::parse(group).unwrap()).collect();
        Caller { groups, ..Caller::parse(text).unwrap() }
    }

    #[test]
    fn roles_are_read_as_they_are_written() {
        let all = words(&["requester", "auditor", "admin"]);
        assert_eq!(Roles::parse(&all).unwrap().words(), all);
        assert_eq!(Roles::parse(&words(&["admin", "requester"])).unwrap().words(), ["requester", "admin"]);
        assert_eq!(Roles::parse(&[]), Some(Roles::default()));
        for wrong in ["", "Admin", "admin ", "*", "requester,admin"] {
            assert_eq!(Roles::parse(&words(&[wrong])), None, "{wrong}");
        }
    }

    #[test]
    fn a_binding_gives_its_role_to_whom_it_names_and_to_nobody_else() {
        let bindings =
            bind("requester", &["oidc:corp:a*", "group:corp:portal", "sa:prod:ci:*"], false).unwrap();
        for text in ["oidc:corp:alice", "sa:prod:ci:robot"] {
            assert_eq!(bindings.roles_of(&caller(text, &[])).words(), ["requester"], "{text}");
        }
        assert_eq!(
            bindings.roles_of(&caller("oidc:corp:bob", &["group:corp:portal"])).words(),
            ["requester"]
        );
        assert_eq!(bindings.roles_of(&caller("oidc:corp:bob", &["group:edge:portal"])), Roles::default());
        for text in
            ["oidc:corp:bob", "proxy:edge:alice", "sa:prod:default:ci", "cert:prod:alice", "token:alice"]
        {
            assert_eq!(bindings.roles_of(&caller(text, &[])), Roles::default(), "{text}");
        }
    }

    #[test]
    fn roles_of_several_bindings_add_up() {
        let binding = |role: &str, callers: &[&str], on_behalf_of| RoleBinding {
            role: role.to_owned(),
            callers: words(callers),
            on_behalf_of,
        };
        let bindings = [
            binding("requester", &["oidc:corp:*"], false),
            binding("auditor", &["oidc:corp:alice"], false),
            binding("requester", &["oidc:corp:portal"], true),
        ];
        let bindings = RoleBindings::new(&bindings, &sources()).unwrap();
        assert_eq!(bindings.roles_of(&caller("oidc:corp:alice", &[])).words(), ["requester", "auditor"]);
        assert!(bindings.may_name_persons(&caller("oidc:corp:portal", &[])));
        assert!(!bindings.may_name_persons(&caller("oidc:corp:alice", &[])));
    }

    #[test]
    fn a_group_gives_no_role_to_a_token_or_a_certificate() {
        let bindings = bind("admin", &["group:corp:portal"], false).unwrap();
        for text in ["token:alice", "cert:prod:alice"] {
            assert_eq!(bindings.roles_of(&caller(text, &["group:corp:portal"])), Roles::default(), "{text}");
        }
    }

    #[test]
    fn what_binds_nobody_or_anybody_is_an_error() {
        for (role, callers, on_behalf_of, says) in [
            ("root", vec!["oidc:corp:*"], false, "roles[0].role"),
            ("requester", vec![], false, "empty"),
            ("auditor", vec!["oidc:corp:*"], true, "on_behalf_of"),
            ("requester", vec!["*"], false, "callers[0]"),
            ("requester", vec!["oidc:*:alice"], false, "source"),
            ("requester", vec!["oidc:corp:*", "oidc:other:*"], false, "callers[1]"),
            ("requester", vec!["proxy:corp:*"], false, "no way to authenticate"),
            ("requester", vec!["group:other:*"], false, "no way to authenticate"),
            ("requester", vec!["sa:test:ci:*"], false, "no way to authenticate"),
            ("requester", vec!["cert:prod:*"], false, "renewal"),
            ("requester", vec!["token:*"], false, "token create"),
            ("requester", vec!["oidc:corp:{caller}"], false, "variables"),
        ] {
            let error = bind(role, &callers, on_behalf_of).unwrap_err();
            assert!(error.contains(says), "{role} {callers:?}: {error}");
        }
    }
}

//! Who asks: kind, source and name, as `token:portal` or `oidc:corp:alice`.

use std::collections::BTreeMap;
use std::fmt;

use crate::pki::name::{Name, ShortName};

/// The way in which a caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallerKind {
    /// An API token of ours. Its source is the service itself and is not written.
    Token,
    /// A JWT of a configured issuer.
    Oidc,
    /// A Kubernetes service account; the source is the cluster, the name `NAMESPACE:NAME`.
    ServiceAccount,
    /// A certificate that this service issued; opens renewal only. The source is the cluster.
    Certificate,
    /// A client certificate of another CA, or a trusted proxy's header.
    Proxy,
}

impl CallerKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Token, Self::Oidc, Self::ServiceAccount, Self::Certificate, Self::Proxy];

    /// As it is written before the first colon.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Oidc => "oidc",
            Self::ServiceAccount => "sa",
            Self::Certificate => "cert",
            Self::Proxy => "proxy",
        }
    }
}

/// A group that the caller's own credential shows, as `group:SOURCE:NAME`. Never a group that
/// was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallerGroup {
    /// The configured source that vouches for it.
    pub source: ShortName,
    /// The group's name as the source spells it.
    pub name: String,
}

impl CallerGroup {
    /// Reads `group:SOURCE:NAME`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is no group of a caller: write group:SOURCE:NAME", text.escape_debug());
        let rest = text.strip_prefix("group:").ok_or_else(wrong)?;
        let (source, name) = rest.split_once(':').filter(|(_, name)| !name.is_empty()).ok_or_else(wrong)?;
        let source = ShortName::parse(source).map_err(|_| wrong())?;
        Ok(Self { source, name: name.to_owned() })
    }
}

impl fmt::Display for CallerGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group:{}:{}", self.source, self.name)
    }
}

/// What a credential says of its holder, by the name of each claim that it makes. One that it does
/// not make is not there; one without values is there and empty.
pub type Claims = BTreeMap<String, Vec<String>>;

/// The authenticated principal that sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// How it authenticated.
    pub kind: CallerKind,
    /// The configured source; none for a token.
    pub source: Option<ShortName>,
    /// Its name within kind and source.
    pub name: String,
    /// What its credential says that it belongs to.
    pub groups: Vec<CallerGroup>,
    /// What else its credential says; only what its configured source vouches for. API tokens make
    /// no claims.
    pub claims: Claims,
    /// The person for whom it asks, where that person's own token came with the request.
    pub proven: Option<Proven>,
}

/// A person whom a caller names, known by a token of that person's own. One source proves persons, so
/// none is named here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The name, as the source spells it.
    pub name: String,
    /// The groups that the token shows.
    pub groups: Vec<String>,
}

impl Caller {
    /// The caller behind the API token `name`.
    #[must_use]
    pub fn token(name: &ShortName) -> Self {
        let name = name.to_string();
        let (groups, claims) = (Vec::new(), Claims::new());
        Self { kind: CallerKind::Token, source: None, name, groups, claims, proven: None }
    }

    /// Reads `token:NAME`, `oidc:SOURCE:NAME`, `sa:CLUSTER:NAMESPACE:NAME`, `cert:CLUSTER:USER` or
    /// `proxy:SOURCE:NAME`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is no caller: write token:NAME, oidc:SOURCE:NAME, sa:CLUSTER:NAMESPACE:NAME, cert:CLUSTER:USER \
                 or proxy:SOURCE:NAME",
                text.escape_debug()
            )
        };
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        let kind = CallerKind::ALL.into_iter().find(|known| known.as_str() == kind).ok_or_else(wrong)?;
        if kind == CallerKind::Token {
            return ShortName::parse(rest).map(|name| Self::token(&name)).map_err(|_| wrong());
        }
        let (source, name) = rest.split_once(':').ok_or_else(wrong)?;
        let source = ShortName::parse(source).map_err(|_| wrong())?;
        let namespaced =
            name.split_once(':').is_some_and(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
        if Name::parse(name).is_err() || (kind == CallerKind::ServiceAccount && !namespaced) {
            return Err(wrong());
        }
        let name = name.to_owned();
        let (groups, claims) = (Vec::new(), Claims::new());
        Ok(Self { kind, source: Some(source), name, groups, claims, proven: None })
    }

    /// Whether its credential tells to which groups of `source` it belongs: one that lists none may
    /// have left them out.
    #[must_use]
    pub fn shows_groups_of(&self, source: &ShortName) -> bool {
        self.groups.iter().any(|group| group.source == *source)
    }

    /// The name as something a certificate could carry, where it is one. What is no valid name
    /// never comes through `{caller}`.
    #[must_use]
    pub fn as_name(&self) -> Option<Name> {
        Name::parse(&self.name).ok()
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}:{source}:{}", self.kind.as_str(), self.name),
            None => write!(f, "{}:{}", self.kind.as_str(), self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_reads_as_it_is_written() {
        for text in ["group:corp:dev", "group:corp:a:b c"] {
            assert_eq!(CallerGroup::parse(text).map(|group| group.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "dev", "group:dev", "group:corp:", "group:Corp:dev", "oidc:corp:dev"] {
            assert!(CallerGroup::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_caller_reads_as_it_is_written() {
        for text in [
            "token:portal",
            "oidc:corp:alice",
            "oidc:corp:a:b",
            "sa:prod:kube-system:robot",
            "cert:prod:zoë",
            "proxy:sso:x",
        ] {
            assert_eq!(Caller::parse(text).map(|caller| caller.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "",
            "alice",
            "token:",
            "token:A",
            "oidc:corp",
            "oidc:corp:",
            "oidc:Corp:a",
            "sa:prod:robot",
            "sa:prod::x",
            "cli:root",
            "group:a:b",
        ] {
            assert!(Caller::parse(text).is_err(), "{text}");
        }
    }
}

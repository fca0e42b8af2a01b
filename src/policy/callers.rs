//! Patterns of callers, as `oidc:corp:*`: kind and source are literal, only the name is a pattern.

use super::pattern::{Pattern, PatternError, Star};
use crate::caller::{Caller, CallerKind};
use crate::pki::name::ShortName;

/// The longest entry of `callers`, in bytes.
const LONGEST: usize = 1_024;

/// One entry of `callers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerPattern {
    /// What the entry speaks of.
    pub subject: Subject,
    /// The configured source; none for a token.
    pub source: Option<ShortName>,
    /// The name within kind and source; for a service account `NAMESPACE:NAME`.
    pub name: Pattern,
}

/// What an entry of `callers` speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The caller's own name.
    Caller(CallerKind),
    /// One of the groups that its credential shows.
    Group,
}

impl CallerPattern {
    /// Reads `token:NAME`, `sa:CLUSTER:NAMESPACE:NAME` or `KIND:SOURCE:NAME`, where the name of an
    /// oidc, cert, proxy or group entry may have colons of its own.
    ///
    /// # Errors
    /// An unknown kind, a source that is no literal name, the wrong number of parts, or a name that
    /// is no pattern.
    pub fn parse(text: &str, star: Star) -> Result<Self, CallerPatternError> {
        let (kind, rest) = text.split_once(':').ok_or(CallerPatternError::Parts)?;
        let subject = subject(kind)?;
        let (source, name) = if subject == Subject::Caller(CallerKind::Token) {
            (None, rest)
        } else {
            let (source, name) = rest.split_once(':').ok_or(CallerPatternError::Parts)?;
            (Some(ShortName::parse(source).map_err(|_| CallerPatternError::Source)?), name)
        };
        check_parts(subject, name)?;
        if text.len() > LONGEST || text.contains(char::is_control) {
            return Err(CallerPatternError::Text);
        }
        let name = Pattern::parse(name, star)?;
        if name.variable().is_some() {
            return Err(CallerPatternError::Variable);
        }
        Ok(Self { subject, source, name })
    }

    /// Whether it speaks of `caller`, or of one of the groups that its credential shows.
    #[must_use]
    pub fn matches(&self, caller: &Caller) -> bool {
        let named = |name: &str| self.name.matches(name, |_, _| false);
        match self.subject {
            Subject::Caller(kind) => {
                kind == caller.kind && self.source == caller.source && named(&caller.name)
            }
            Subject::Group => caller
                .groups
                .iter()
                .any(|group| self.source.as_ref() == Some(&group.source) && named(&group.name)),
        }
    }
}

/// Why a text is no entry of `callers`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallerPatternError {
    /// The kind is none that there is.
    #[error("a caller begins with its kind, literally: token, oidc, sa, cert, proxy or group")]
    Kind,
    /// The source is no short name.
    #[error("the source of a caller is a configured name, literally, without *")]
    Source,
    /// Too few parts, or too many.
    #[error("write token:NAME, sa:CLUSTER:NAMESPACE:NAME, or oidc, cert, proxy or group as KIND:SOURCE:NAME")]
    Parts,
    /// No token is called so.
    #[error("a token's name has only a-z, 0-9, `.` and `-`")]
    TokenName,
    /// Too long, or with a control character.
    #[error("a caller has at most 1024 bytes and no control characters")]
    Text,
    /// A variable.
    #[error("callers take no variables: a variable stands for what is known of the caller")]
    Variable,
    /// The name is no pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

fn subject(kind: &str) -> Result<Subject, CallerPatternError> {
    let kinds = [
        CallerKind::Token,
        CallerKind::Oidc,
        CallerKind::ServiceAccount,
        CallerKind::Certificate,
        CallerKind::Proxy,
    ];
    match kinds.into_iter().find(|known| known.as_str() == kind) {
        Some(known) => Ok(Subject::Caller(known)),
        None if kind == "group" => Ok(Subject::Group),
        None => Err(CallerPatternError::Kind),
    }
}

fn check_parts(subject: Subject, name: &str) -> Result<(), CallerPatternError> {
    let colons = name.matches(':').count();
    match subject {
        Subject::Caller(CallerKind::Token) if colons > 0 => Err(CallerPatternError::Parts),
        Subject::Caller(CallerKind::Token) => check_token(name),
        Subject::Caller(CallerKind::ServiceAccount) if colons != 1 || name.split(':').any(str::is_empty) => {
            Err(CallerPatternError::Parts)
        }
        _ if name.is_empty() => Err(CallerPatternError::Parts),
        _ => Ok(()),
    }
}

fn check_token(name: &str) -> Result<(), CallerPatternError> {
    if name.is_empty() {
        return Err(CallerPatternError::Parts);
    }
    let literal = name.replace('*', "");
    let sound =
        literal.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'{' | b'}'));
    if sound { Ok(()) } else { Err(CallerPatternError::TokenName) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<CallerPattern, CallerPatternError> {
        CallerPattern::parse(text, Star::Segment)
    }

    #[test]
    fn every_kind_of_caller_is_read() {
        for (text, source, name) in [
            ("token:portal", None, "portal"),
            ("token:*", None, "*"),
            ("oidc:corp:alice", Some("corp"), "alice"),
            ("oidc:gh:repo:org/app:ref:refs/heads/main", Some("gh"), "repo:org/app:ref:refs/heads/main"),
            ("sa:prod:ci:builder", Some("prod"), "ci:builder"),
            ("cert:prod:alice", Some("prod"), "alice"),
            ("proxy:edge:a b", Some("edge"), "a b"),
            ("group:corp:dev-*", Some("corp"), "dev-*"),
        ] {
            let read = parse(text).expect(text);
            assert_eq!(read.source.as_ref().map(ShortName::as_str), source, "{text}");
            assert_eq!(read.name.as_str(), name, "{text}");
        }
    }

    #[test]
    fn what_is_no_caller_is_an_error() {
        use CallerPatternError as E;
        for (text, error) in [
            ("*", E::Parts),
            ("alice", E::Parts),
            ("*:corp:alice", E::Kind),
            ("user:corp:alice", E::Kind),
            ("Token:a", E::Kind),
            (":corp:alice", E::Kind),
            ("oidc:*:alice", E::Source),
            ("oidc:co*:alice", E::Source),
            ("oidc::alice", E::Source),
            ("oidc:*", E::Parts),
            ("oidc:corp", E::Parts),
            ("oidc:corp:", E::Parts),
            ("group:dev", E::Parts),
            ("token:", E::Parts),
            ("token:a:b", E::Parts),
            ("token:A", E::TokenName),
            ("sa:prod:builder", E::Parts),
            ("sa:prod:*", E::Parts),
            ("sa:prod:ci:a:b", E::Parts),
            ("sa:prod::a", E::Parts),
            ("oidc:corp:a\nb", E::Text),
            ("oidc:corp:{caller}", E::Variable),
            ("token:{caller}", E::Variable),
            ("oidc:corp:{x}", E::Pattern(PatternError::UnknownVariable("x".into()))),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}

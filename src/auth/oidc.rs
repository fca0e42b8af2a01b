//! `[[auth.oidc]]`: people and programs with a JWT of an OpenID Connect issuer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::jwt::{Algorithm, Claims, JwtError, Standing};
use super::url::HttpsUrl;
use crate::caller::{self, Caller, CallerGroup, CallerKind};
use crate::pki::name::{Name, ShortName};
use crate::time::Lifetime;

/// The most groups that are read of a token.
const MOST_GROUPS: usize = 500;
/// The most values that are read of one claim.
const MOST_VALUES: usize = 100;
/// The longest group or value, in bytes.
const LONGEST: usize = 253;
/// The most claims that policy rows may speak of.
const MOST_CLAIMS: usize = 32;

/// Issuers at which anybody has an account: whose the token is must be asked for. With the claims that say so.
const PUBLIC: [(&str, &[&str]); 5] = [
    (
        "https://token.actions.githubusercontent.com",
        &[
            "repository_owner",
            "repository_owner_id",
            "repository",
            "repository_id",
            "enterprise",
            "enterprise_id",
        ],
    ),
    (
        "https://gitlab.com",
        &["namespace_path", "namespace_id", "project_path", "project_id", "root_group_id"],
    ),
    ("https://accounts.google.com", &["hd"]),
    ("https://agent.buildkite.com", &["organization_slug", "organization_id"]),
    ("https://app.terraform.io", &["terraform_organization_name", "terraform_organization_id"]),
];

/// One `[[auth.oidc]]` table of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSettings {
    /// The source in `oidc:NAME:…` and `group:NAME:…`.
    pub name: ShortName,
    /// `iss` of its tokens, and where its keys are found unless there is a `jwks_file`.
    pub issuer: String,
    /// A JWK set in a file, in place of discovery.
    pub jwks_file: Option<PathBuf>,
    /// The CAs by which the issuer's server is trusted; the public ones if absent. Of no meaning with a
    /// `jwks_file`, by which no server is asked.
    pub ca_file: Option<PathBuf>,
    /// What `aud` must be or hold.
    pub audience: String,
    /// How its tokens may be signed.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// The claim that is the caller's name.
    #[serde(default = "default_username_claim")]
    pub username_claim: String,
    /// The claim that lists the caller's groups; without it there are none.
    pub groups_claim: Option<String>,
    /// What claims must be: a value, or one of a list.
    #[serde(default)]
    pub required_claims: BTreeMap<String, Wanted>,
    /// Neither `exp - iat` nor `now - iat` may exceed it.
    #[serde(default = "default_max_token_age")]
    pub max_token_age: Lifetime,
    /// Whether its tokens show that a person is behind a request that a portal makes for her.
    #[serde(default)]
    pub proves_persons: bool,
    /// The claims that policy rows may use as `{caller.claim.NAME}`.
    #[serde(default)]
    pub claims: Vec<String>,
}

/// What a claim must be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Wanted {
    /// This text.
    Text(String),
    /// This truth value.
    Flag(bool),
    /// This number.
    Number(i64),
    /// One of these texts.
    OneOf(Vec<String>),
}

impl Wanted {
    fn is(&self, value: &Value) -> bool {
        match self {
            Self::Text(text) => value.as_str() == Some(text),
            Self::Flag(flag) => value.as_bool() == Some(*flag),
            Self::Number(number) => value.as_i64() == Some(*number),
            Self::OneOf(texts) => value.as_str().is_some_and(|value| texts.iter().any(|text| text == value)),
        }
    }

    fn is_something(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Flag(_) | Self::Number(_) => true,
            Self::OneOf(texts) => !texts.is_empty() && texts.iter().all(|text| !text.is_empty()),
        }
    }
}

fn default_algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256]
}

fn default_username_claim() -> String {
    "sub".to_owned()
}

pub(super) fn default_max_token_age() -> Lifetime {
    Lifetime::from_seconds(86_400)
}

impl OidcSettings {
    /// The same settings with every file name taken from `folder`.
    #[must_use]
    pub fn resolved_from(mut self, folder: &Path) -> Self {
        self.jwks_file = self.jwks_file.map(|path| folder.join(path));
        self.ca_file = self.ca_file.map(|path| folder.join(path));
        self
    }

    /// Checks what can be checked without a file and without the issuer.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn check(&self) -> Result<(), String> {
        HttpsUrl::parse(&self.issuer).map_err(|reason| format!("issuer: {reason}"))?;
        if self.audience.is_empty() || self.audience.len() > LONGEST {
            return Err("audience: it has 1 to 253 bytes".to_owned());
        }
        if self.algorithms.is_empty() {
            return Err("algorithms: an empty list accepts no token".to_owned());
        }
        let claims = [&self.username_claim].into_iter().chain(&self.groups_claim).chain(&self.claims);
        if claims.into_iter().any(|name| !is_claim_name(name)) {
            return Err("username_claim, groups_claim, claims: a claim's name has 1 to 128 bytes".to_owned());
        }
        if self.claims.len() > MOST_CLAIMS {
            return Err(format!("claims: at most {MOST_CLAIMS}"));
        }
        check_age(self.max_token_age)?;
        if let Some((name, _)) = self.required_claims.iter().find(|(_, wanted)| !wanted.is_something()) {
            return Err(format!("required_claims.{name}: it is empty, which no claim should be"));
        }
        self.check_owner()
    }

    /// A public issuer vouches for everybody in the world.
    fn check_owner(&self) -> Result<(), String> {
        let issuer = self.issuer.trim_end_matches('/');
        let Some((_, owners)) = PUBLIC.iter().find(|(public, _)| public.eq_ignore_ascii_case(issuer)) else {
            return Ok(());
        };
        if owners.iter().any(|owner| matches!(self.required_claims.get(*owner), Some(wanted) if !matches!(wanted, Wanted::Flag(_)))) {
            return Ok(());
        }
        Err(format!(
            "required_claims: anybody can have a token of {issuer}: require an owner, by {}",
            owners.join(", ")
        ))
    }

    /// The caller that a token speaks of, once it is verified and its standing is read.
    ///
    /// # Errors
    /// A required claim is another, or the claims give no name or no list of groups.
    pub fn caller(&self, claims: &Claims) -> Result<Caller, JwtError> {
        for (name, wanted) in &self.required_claims {
            if !claims.get(name).is_some_and(|value| wanted.is(value)) {
                return Err(JwtError::Required(name.clone()));
            }
        }
        Ok(Caller {
            kind: CallerKind::Oidc,
            source: Some(self.name.clone()),
            name: self.user_name(claims)?,
            groups: self.groups(claims)?,
            claims: self.told(claims),
            proven: None,
        })
    }

    fn user_name(&self, claims: &Claims) -> Result<String, JwtError> {
        let claim = &self.username_claim;
        let wrong = |reason: String| JwtError::UserName(claim.clone(), reason);
        let text =
            claims.get(claim).and_then(Value::as_str).ok_or_else(|| wrong("it is no text".to_owned()))?;
        if claim == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
            return Err(JwtError::EmailNotVerified);
        }
        Name::parse(text).map(|name| name.to_string()).map_err(|error| wrong(error.to_string()))
    }

    /// A list that is incomplete would let a caller slip by a row that denies, so none is taken.
    fn groups(&self, claims: &Claims) -> Result<Vec<CallerGroup>, JwtError> {
        let Some(claim) = &self.groups_claim else { return Ok(Vec::new()) };
        // Entra's markers of a list that was too long for the token.
        let elsewhere = claims.get("_claim_names");
        let left_out = match elsewhere {
            None => false,
            Some(Value::Object(names)) => names.contains_key(claim),
            Some(_) => true,
        };
        if left_out || claims.get("hasgroups").is_some_and(|value| *value != Value::Bool(false)) {
            return Err(JwtError::GroupsLeftOut);
        }
        let wrong = || JwtError::Groups(claim.clone());
        let Some(value) = claims.get(claim) else { return Ok(Vec::new()) };
        let names = texts(value).filter(|names| names.len() <= MOST_GROUPS).ok_or_else(wrong)?;
        let mut groups: Vec<CallerGroup> = Vec::with_capacity(names.len());
        for name in names {
            if name.is_empty() || name.len() > LONGEST || name.contains(char::is_control) {
                return Err(wrong());
            }
            if !groups.iter().any(|known| known.name == name) {
                groups.push(CallerGroup { source: self.name.clone(), name: name.to_owned() });
            }
        }
        Ok(groups)
    }

    /// The listed claims that can be told in words. One that cannot is none, so that it gives nothing.
    fn told(&self, claims: &Claims) -> caller::Claims {
        let listed = self.claims.iter().filter_map(|name| Some((name.clone(), words(claims.get(name)?)?)));
        listed.collect()
    }
}

pub(super) fn check_age(age: Lifetime) -> Result<(), String> {
    let allowed = Lifetime::from_seconds(60)..=Lifetime::from_seconds(31 * 86_400);
    if allowed.contains(&age) { Ok(()) } else { Err("max_token_age: it is between 1m and 31d".to_owned()) }
}

fn is_claim_name(name: &str) -> bool {
    (1..=128).contains(&name.len()) && !name.contains(char::is_control)
}

/// One text, or a list of nothing but texts.
fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(one) => Some(vec![one]),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn words(value: &Value) -> Option<Vec<String>> {
    let words = match value {
        Value::Bool(flag) => vec![flag.to_string()],
        Value::Number(number) if number.is_i64() || number.is_u64() => vec![number.to_string()],
        other => texts(other)?.into_iter().map(str::to_owned).collect(),
    };
    let fit = words.len() <= MOST_VALUES && words.iter().all(|word| word.len() <= LONGEST);
    fit.then_some(words)
}

/// What is known of a caller from a verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// Who it is.
    pub caller: Caller,
    /// `iss`.
    pub issuer: String,
    /// From when until when, and `sub`.
    pub standing: Standing,
}

#[cfg(test)]
mod tests;

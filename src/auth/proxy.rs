//! Callers that a proxy in front names in headers: `[[auth.proxy]]`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::AuthError;
use super::mtls::{NameFrom, names, proxied};
use super::network::Network;
use super::presented::Presented;
use crate::ca::secret_file::{self, shown};
use crate::caller::{Caller, CallerGroup};
use crate::pki::name::{Name, ShortName};
use crate::time::Time;
use crate::tls::{ClientAuthorities, ClientCertificate};

/// The most groups that a proxy names in one request.
const MOST_GROUPS: usize = 1_000;
/// The least that a secret has, in bytes: 128 bits as hex digits.
const SHORTEST_SECRET: usize = 32;

/// One `[[auth.proxy]]` table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxySettings {
    /// The source in `proxy:SOURCE:NAME` and `group:SOURCE:NAME`.
    pub name: ShortName,
    /// PEM: the authorities of the proxy's client certificate.
    pub ca: Option<PathBuf>,
    /// The common name or DNS name that the proxy's certificate has; one of these.
    #[serde(default)]
    pub client_names: Vec<String>,
    /// Where the proxy is, where it shows a secret in place of a certificate.
    #[serde(default)]
    pub addresses: Vec<Network>,
    /// The header with its secret.
    pub secret_header: Option<String>,
    /// The file with that secret.
    pub secret_file: Option<PathBuf>,
    /// The header with the user's name.
    #[serde(default = "user_header")]
    pub user_header: String,
    /// The header with the user's groups, between commas.
    #[serde(default = "groups_header")]
    pub groups_header: String,
}

fn user_header() -> String {
    "X-Forwarded-User".to_owned()
}

fn groups_header() -> String {
    "X-Forwarded-Groups".to_owned()
}

impl ProxySettings {
    /// The same settings with every file name taken from `folder`.
    #[must_use]
    pub fn resolved_from(mut self, folder: &Path) -> Self {
        for path in [&mut self.ca, &mut self.secret_file].into_iter().flatten() {
            *path = folder.join(&*path);
        }
        self
    }

    /// Checks what can be checked without a file.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn check(&self) -> Result<(), String> {
        let by_certificate = self.ca.is_some() || !self.client_names.is_empty();
        let by_secret =
            self.secret_header.is_some() || self.secret_file.is_some() || !self.addresses.is_empty();
        match (by_certificate, by_secret) {
            (true, true) | (false, false) => {
                return Err(
                    "name either ca and client_names, or addresses, secret_header and secret_file".to_owned()
                );
            }
            (true, false) if self.ca.is_none() || self.client_names.is_empty() => {
                return Err("a proxy with a certificate needs both ca and client_names".to_owned());
            }
            (false, true)
                if self.addresses.is_empty()
                    || self.secret_header.is_none()
                    || self.secret_file.is_none() =>
            {
                return Err(
                    "a proxy with a secret needs all of addresses, secret_header and secret_file".to_owned()
                );
            }
            _ => {}
        }
        let headers = [Some(&self.user_header), Some(&self.groups_header), self.secret_header.as_ref()];
        let mut seen = Vec::new();
        for header in headers.into_iter().flatten() {
            let lower = header.to_ascii_lowercase();
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if lower.is_empty() || !lower.bytes().all(token) || OTHERS.contains(&lower.as_str()) {
                return Err(format!("`{}` is no header for this", header.escape_debug()));
            }
            if seen.contains(&lower) {
                return Err(format!("`{header}` stands for two things"));
            }
            seen.push(lower);
        }
        Ok(())
    }
}

/// What has a meaning of its own.
const OTHERS: [&str; 8] = [
    "authorization",
    "host",
    "cookie",
    "content-type",
    "content-length",
    "accept",
    "x-forwarded-for",
    "x-request-id",
];

/// A proxy whose headers are believed, its files read.
#[derive(Clone, Debug)]
pub struct TrustedProxy {
    name: ShortName,
    known_by: KnownBy,
    user_header: String,
    groups_header: String,
}

/// By what a proxy shows that it is one.
#[derive(Clone, Debug)]
enum KnownBy {
    Certificate { authorities: ClientAuthorities, names: Vec<String> },
    Secret { addresses: Vec<Network>, header: String, sha256: [u8; 32] },
}

impl TrustedProxy {
    /// Reads its files.
    ///
    /// # Errors
    /// The key that is wrong, and how.
    pub fn open(settings: &ProxySettings) -> Result<Self, String> {
        settings.check()?;
        let known_by = match (&settings.ca, &settings.secret_file, &settings.secret_header) {
            (Some(ca), _, _) => KnownBy::Certificate {
                authorities: ClientAuthorities::read(ca).map_err(|error| format!("ca: {error}"))?,
                names: settings.client_names.clone(),
            },
            (None, Some(file), Some(header)) => KnownBy::Secret {
                addresses: settings.addresses.clone(),
                header: header.to_ascii_lowercase(),
                sha256: read_secret(file)
                    .map_err(|error| format!("secret_file: {}: {error}", shown(file)))?,
            },
            _ => return Err("names no way to know the proxy".to_owned()),
        };
        Ok(Self {
            name: settings.name.clone(),
            known_by,
            user_header: settings.user_header.to_ascii_lowercase(),
            groups_header: settings.groups_header.to_ascii_lowercase(),
        })
    }

    /// What its callers are known under.
    #[must_use]
    pub fn name(&self) -> &ShortName {
        &self.name
    }

    /// Of whom its certificate is; none where it shows a secret.
    #[must_use]
    pub fn authorities(&self) -> Option<&ClientAuthorities> {
        match &self.known_by {
            KnownBy::Certificate { authorities, .. } => Some(authorities),
            KnownBy::Secret { .. } => None,
        }
    }

    /// The caller that this proxy names; none where the request is not from it, or names nobody.
    ///
    /// # Errors
    /// The proxy let a header through twice, or one that is no name.
    pub fn caller(&self, presented: &Presented<'_>, now: Time) -> Result<Option<Caller>, AuthError> {
        let users: Vec<_> = presented.lines(&self.user_header).collect();
        let groups: Vec<_> = presented.lines(&self.groups_header).collect();
        if (users.is_empty() && groups.is_empty()) || !self.sent(presented, now) {
            return Ok(None);
        }
        let ([user], [] | [_]) = (users.as_slice(), groups.as_slice()) else {
            return Err(AuthError::ProxyHeaders);
        };
        let text = |value: &[u8]| std::str::from_utf8(value).ok().map(str::to_owned);
        let user = text(user).and_then(|user| Name::parse(&user).ok()).ok_or(AuthError::ProxyHeaders)?;
        let list = groups.first().map_or(Some(String::new()), |value| text(value));
        let groups = self.groups(&list.ok_or(AuthError::ProxyHeaders)?)?;
        Ok(Some(Caller { groups, ..proxied(&self.name, &user) }))
    }

    /// Whether a header of this proxy is there, whoever sent it.
    #[must_use]
    pub fn is_spoken_for(&self, presented: &Presented<'_>) -> bool {
        let secret = match &self.known_by {
            KnownBy::Secret { header, .. } => Some(header),
            KnownBy::Certificate { .. } => None,
        };
        let headers = [&self.user_header, &self.groups_header].into_iter().chain(secret);
        headers.into_iter().any(|header| presented.lines(header).next().is_some())
    }

    /// Whether the secret that is shown is this proxy's, from where it is; none where none is shown.
    #[must_use]
    pub fn knows_secret(&self, presented: &Presented<'_>, now: Time) -> Option<bool> {
        let KnownBy::Secret { header, .. } = &self.known_by else { return None };
        presented.lines(header).next().map(|_| self.sent(presented, now))
    }

    fn groups(&self, list: &str) -> Result<Vec<CallerGroup>, AuthError> {
        let names: Vec<&str> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        if names.len() > MOST_GROUPS || names.iter().any(|name| Name::parse(name).is_err()) {
            return Err(AuthError::ProxyHeaders);
        }
        let group = |name: &str| CallerGroup { source: self.name.clone(), name: name.to_owned() };
        Ok(names.into_iter().map(group).collect())
    }

    /// Whether it is this proxy that the request comes from.
    fn sent(&self, presented: &Presented<'_>, now: Time) -> bool {
        match &self.known_by {
            KnownBy::Certificate { authorities, names } => {
                let has = |certificate: &ClientCertificate| {
                    is_named(certificate, names) && authorities.verify(certificate, now).is_ok()
                };
                presented.certificate.is_some_and(has)
            }
            KnownBy::Secret { addresses, header, sha256 } => {
                let from = |peer: IpAddr| addresses.iter().any(|network| network.contains(peer));
                let mut lines = presented.lines(header);
                let only = lines.next().filter(|_| lines.next().is_none());
                let shows = only.is_some_and(|secret| bool::from(hash(secret).ct_eq(sha256)));
                presented.peer.is_some_and(from) && shows
            }
        }
    }
}

fn is_named(certificate: &ClientCertificate, wanted: &[String]) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate.der()) else { return false };
    let of_it = [NameFrom::Cn, NameFrom::Dns].map(|from| names(&parsed, from));
    of_it.iter().flatten().any(|name| wanted.iter().any(|wanted| wanted == name))
}

fn hash(secret: &[u8]) -> [u8; 32] {
    digest(&SHA256, secret).as_ref().try_into().unwrap_or_default()
}

/// The SHA-256 of the secret; the secret itself is not kept.
fn read_secret(file: &Path) -> Result<[u8; 32], String> {
    let octets = secret_file::read(file).map_err(|error| error.to_string())?;
    let secret = octets.trim_ascii();
    if secret.len() < SHORTEST_SECRET || !secret.iter().all(u8::is_ascii_graphic) {
        return Err(format!(
            "it holds no secret of {SHORTEST_SECRET} characters or more: `openssl rand -hex 32`"
        ));
    }
    Ok(hash(secret))
}

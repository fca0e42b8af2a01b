//! A configured cluster: what goes into its kubeconfigs, and the CA that signs for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use x509_parser::pem::Pem;

use crate::ca::{Authority, AuthorityError, AuthoritySettings};
use crate::kubeconfig::ClusterEntry;
use crate::pki::name::ShortName;
use crate::policy::{ClusterRules, Clusters};
use crate::time::{Lifetime, Time};
use crate::tls::ClientAuthorities;

/// One `[[clusters]]` table of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSettings {
    /// Its name here, in kubeconfigs and in policy rows.
    pub name: ShortName,
    /// The API server's URL, as it goes into kubeconfigs.
    pub server: String,
    /// The CA by which kubectl trusts the API server; goes into kubeconfigs.
    pub server_ca: PathBuf,
    /// The CA that signs; a file with a chain begins with the certificate of the key.
    pub client_ca: PathBuf,
    /// Its private key.
    pub client_ca_key: PathBuf,
    /// The file with the password of an encrypted key.
    pub client_ca_key_password_file: Option<PathBuf>,
    /// The namespace that kubeconfigs start in.
    pub namespace: Option<String>,
    /// The lifetime of who asks for none.
    #[serde(default = "default_ttl")]
    pub default_ttl: Lifetime,
    /// The longest lifetime that anybody gets.
    #[serde(default = "max_ttl")]
    pub max_ttl: Lifetime,
    /// Prefixes and names that only a row that spells them out gives.
    #[serde(default)]
    pub reserved: Vec<String>,
    /// Whether rows may give node and bootstrap identities.
    #[serde(default)]
    pub node_identities: bool,
    /// How long a certificate may be renewed, counted from when the first of its chain was issued.
    #[serde(default = "max_renew")]
    pub max_renew: Lifetime,
    /// Clusters that trust one CA key name one group; a claim must then be allowed on all of them.
    pub trust_group: Option<ShortName>,
}

fn default_ttl() -> Lifetime {
    Lifetime::from_seconds(8 * 3_600)
}

fn max_ttl() -> Lifetime {
    Lifetime::from_seconds(24 * 3_600)
}

fn max_renew() -> Lifetime {
    Lifetime::from_seconds(24 * 3_600)
}

impl ClusterSettings {
    /// The same settings with every file name taken from `folder`.
    #[must_use]
    pub fn resolved_from(mut self, folder: &Path) -> Self {
        for path in [&mut self.server_ca, &mut self.client_ca, &mut self.client_ca_key] {
            *path = folder.join(&*path);
        }
        self.client_ca_key_password_file = self.client_ca_key_password_file.map(|path| folder.join(path));
        self
    }

    /// Every file that these settings name.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let files = [&self.server_ca, &self.client_ca, &self.client_ca_key];
        files.into_iter().chain(&self.client_ca_key_password_file).cloned().collect()
    }

    /// Checks what can be checked without a file.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn check(&self) -> Result<(), ClusterError> {
        check_server(&self.server).map_err(|reason| self.wrong("server", reason))?;
        if let Some(namespace) = &self.namespace {
            check_namespace(namespace).map_err(|reason| self.wrong("namespace", reason))?;
        }
        let lifetimes =
            [("default_ttl", self.default_ttl), ("max_ttl", self.max_ttl), ("max_renew", self.max_renew)];
        for (key, ttl) in lifetimes {
            if ttl < Lifetime::LEAST || ttl > Lifetime::MOST {
                return Err(self.wrong(key, "is under 10 minutes or over 10 years"));
            }
        }
        if self.default_ttl > self.max_ttl {
            return Err(self.wrong("default_ttl", "is longer than max_ttl"));
        }
        if self.reserved.iter().any(|entry| entry.is_empty() || entry.len() > 253) {
            return Err(self.wrong("reserved", "has an entry that is empty or longer than 253 bytes"));
        }
        let inner_star = |entry: &String| entry.strip_suffix('*').unwrap_or(entry).contains('*');
        if self.reserved.iter().any(inner_star) {
            return Err(self.wrong("reserved", "has an entry with a * that is not its last character"));
        }
        Ok(())
    }

    /// What deciding needs to know, without the CA.
    fn rules(&self) -> ClusterRules {
        ClusterRules {
            name: self.name.clone(),
            default_ttl: self.default_ttl,
            max_ttl: self.max_ttl,
            reserved: self.reserved.clone(),
            node_identities: self.node_identities,
            trust_group: self.trust_group.clone(),
            ca_not_before: Time::from_unix(i64::MIN),
            ca_not_after: Time::from_unix(i64::MAX),
            ca_keys: Vec::new(),
        }
    }

    fn wrong(&self, key: &'static str, reason: impl Into<String>) -> ClusterError {
        ClusterError::Setting { cluster: self.name.to_string(), key, reason: reason.into() }
    }

    fn authority_settings(&self) -> AuthoritySettings {
        AuthoritySettings {
            certificate: self.client_ca.clone(),
            key: self.client_ca_key.clone(),
            key_password_file: self.client_ca_key_password_file.clone(),
        }
    }
}

/// A cluster that this service signs for, its files read and checked.
pub struct Cluster {
    pub name: ShortName,
    pub server: String,
    /// PEM, as in the file.
    pub server_ca_pem: String,
    /// What it puts into each of its kubeconfigs.
    pub kubeconfig_entry: ClusterEntry,
    pub namespace: Option<String>,
    pub default_ttl: Lifetime,
    pub max_ttl: Lifetime,
    /// How long a chain of renewals lives.
    pub max_renew: Lifetime,
    pub authority: Arc<Authority>,
    /// Whether the CA that signs here is also the one by which clients trust the API server.
    pub shares_server_ca: bool,
    rules: ClusterRules,
    /// As they were when the files were read.
    settings: ClusterSettings,
}

impl Cluster {
    /// Whether settings and files of the other say the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.settings == other.settings
            && self.server_ca_pem == other.server_ca_pem
            && self.authority.chain_pem() == other.authority.chain_pem()
    }

    /// What clients who show a certificate of this cluster are verified by: its CA, and nothing above it. None
    /// where the TLS library is stricter than what reads CAs here, as with a unique identifier (RFC 5280
    /// section 4.1.2.8).
    #[must_use]
    pub fn anchor(&self) -> Option<ClientAuthorities> {
        ClientAuthorities::of(&[self.authority.certificate_der().to_vec().into()]).ok()
    }

    /// Reads and checks the files of one cluster.
    ///
    /// # Errors
    /// The setting, file or CA that is wrong, in one sentence.
    pub fn load(settings: ClusterSettings) -> Result<Self, ClusterError> {
        settings.check()?;
        let server_ca_pem = read_server_ca(&settings)?;
        let authority = Authority::load(&settings.authority_settings())
            .map_err(|source| ClusterError::Authority { cluster: settings.name.to_string(), source })?;
        let rules = ClusterRules {
            ca_not_before: authority.not_before(),
            ca_not_after: authority.not_after(),
            ca_keys: authority.chain_keys(),
            ..settings.rules()
        };
        Ok(Self {
            shares_server_ca: holds_certificate(&server_ca_pem, authority.certificate_der()),
            kubeconfig_entry: ClusterEntry::new(&settings.name, &settings.server, &server_ca_pem),
            name: settings.name.clone(),
            server: settings.server.clone(),
            server_ca_pem,
            namespace: settings.namespace.clone(),
            default_ttl: settings.default_ttl,
            max_ttl: settings.max_ttl,
            max_renew: settings.max_renew,
            authority: Arc::new(authority),
            rules,
            settings,
        })
    }
}

/// Reads and checks every cluster.
///
/// # Errors
/// None at all, a name used twice, one CA key under two clusters that do not say so, or whatever
/// is wrong with one of them.
pub fn load_all(
    settings: Vec<ClusterSettings>,
) -> Result<(BTreeMap<ShortName, Cluster>, Clusters), ClusterError> {
    let mut clusters = BTreeMap::new();
    for one in settings {
        let cluster = Cluster::load(one)?;
        if let Some(twice) = clusters.insert(cluster.name.clone(), cluster) {
            return Err(ClusterError::NameTwice(twice.name.to_string()));
        }
    }
    if clusters.is_empty() {
        return Err(ClusterError::None);
    }
    check_shared_keys(&clusters)?;
    let rules = clusters.values().map(|cluster| cluster.rules.clone()).collect();
    Ok((clusters, Clusters { rules }))
}

/// What deciding needs of every cluster, for what is decided by the policy alone: no file is read,
/// and no CA ends.
///
/// # Errors
/// None at all, a name used twice, or a setting that is wrong.
pub fn rules_without_ca(settings: &[ClusterSettings]) -> Result<Clusters, ClusterError> {
    let mut clusters = BTreeMap::new();
    for one in settings {
        one.check()?;
        if clusters.insert(&one.name, one.rules()).is_some() {
            return Err(ClusterError::NameTwice(one.name.to_string()));
        }
    }
    if clusters.is_empty() {
        return Err(ClusterError::None);
    }
    Ok(Clusters { rules: clusters.into_values().collect() })
}

/// A certificate of one is valid on the other wherever two chains share a key, so both must say so.
fn check_shared_keys(clusters: &BTreeMap<ShortName, Cluster>) -> Result<(), ClusterError> {
    let all: Vec<&ClusterRules> = clusters.values().map(|cluster| &cluster.rules).collect();
    for (index, one) in all.iter().enumerate() {
        for other in all.iter().skip(index + 1) {
            let shared = one.ca_keys.iter().any(|key| other.ca_keys.contains(key));
            let together = one.trust_group.is_some() && one.trust_group == other.trust_group;
            if shared && !together {
                return Err(ClusterError::SharedKey {
                    one: one.name.to_string(),
                    other: other.name.to_string(),
                });
            }
        }
    }
    Ok(())
}

fn read_server_ca(settings: &ClusterSettings) -> Result<String, ClusterError> {
    let path = settings.server_ca.display();
    let text = std::fs::read_to_string(&settings.server_ca)
        .map_err(|error| settings.wrong("server_ca", format!("{path} cannot be read: {error}")))?;
    let blocks: Vec<Pem> = Pem::iter_from_buffer(text.as_bytes()).filter_map(Result::ok).collect();
    if blocks.iter().any(|block| block.label.contains("PRIVATE KEY")) {
        return Err(
            settings.wrong("server_ca", format!("{path} holds a private key, and would go to every client"))
        );
    }
    let sound = |block: &Pem| block.label == "CERTIFICATE" && block.parse_x509().is_ok();
    if blocks.is_empty() || !blocks.iter().all(sound) {
        return Err(settings.wrong("server_ca", format!("{path} is not a PEM file of certificates")));
    }
    Ok(blocks.iter().map(|block| crate::pki::pem::encode("CERTIFICATE", &block.contents)).collect())
}

fn holds_certificate(pem: &str, der: &[u8]) -> bool {
    Pem::iter_from_buffer(pem.as_bytes()).filter_map(Result::ok).any(|block| block.contents == der)
}

fn check_server(server: &str) -> Result<(), &'static str> {
    let Some(rest) = server.strip_prefix("https://") else {
        return Err("is not a URL that begins with https://");
    };
    let host = rest.split('/').next().unwrap_or_default();
    let plain = server.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>\\`{}|^".contains(&byte));
    if host.is_empty() || host.contains('@') || rest.contains(['?', '#']) || !plain {
        return Err("is not a plain URL as in https://10.0.0.1:6443");
    }
    Ok(())
}

/// RFC 1123 label, as Kubernetes names namespaces (apimachinery pkg/util/validation).
fn check_namespace(namespace: &str) -> Result<(), &'static str> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edges = !namespace.starts_with('-') && !namespace.ends_with('-');
    if namespace.is_empty() || namespace.len() > 63 || !edges || !namespace.bytes().all(inner) {
        return Err("is not a namespace: up to 63 of a-z, 0-9 and -, no - at the ends");
    }
    Ok(())
}

/// Why the clusters cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("no cluster is configured: add a [[clusters]] table")]
    None,
    #[error("two clusters are named `{0}`: give each a name of its own")]
    NameTwice(String),
    #[error("cluster `{cluster}`: {key} {reason}")]
    Setting { cluster: String, key: &'static str, reason: String },
    #[error("cluster `{cluster}`: {source}")]
    Authority { cluster: String, source: AuthorityError },
    #[error(
        "clusters `{one}` and `{other}` trust one CA key, so a certificate for one is valid on both: give each a CA \
         of its own, or name the same trust_group in both"
    )]
    SharedKey { one: String, other: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_plain_https_url() {
        assert_eq!(check_server("https://10.0.0.1:6443"), Ok(()));
        assert_eq!(check_server("https://k8s.example/prefix"), Ok(()));
        for wrong in [
            "http://10.0.0.1",
            "https://",
            "https://a b",
            "https://u:p@h",
            "https://h?x",
            "https://h\n",
            "h:6443",
        ] {
            assert!(check_server(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_namespace_is_a_dns_label() {
        assert_eq!(check_namespace("team-a"), Ok(()));
        for wrong in ["", "-a", "a-", "A", "a.b", "a b"] {
            assert!(check_namespace(wrong).is_err(), "{wrong}");
        }
    }
}

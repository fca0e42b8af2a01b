//! The configuration file: TOML, the environment over it, every path resolved.

mod auth;
mod limits;
mod review;
mod sections;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use self::auth::AuthTable;
use self::limits::LimitsTable;
use self::review::ReviewTable;
use crate::app::cluster::ClusterSettings;
use crate::app::{FailureLimits, RateLimits, RefusalLimits, ReviewLimits};
use crate::auth::{AuthSettings, Network, RoleBinding};
use crate::http::Limits;
use crate::store::StoreSettings;
use crate::store::retention::LEAST_RETENTION;
use crate::telemetry::{self, LogFormat};
use crate::time::Lifetime;
use crate::tls::TlsSettings;

/// Begins every environment variable that overrides a key. Two underscores, because Kubernetes
/// itself sets `COUNTERSIGN_PORT` beside a Service of that name.
const ENVIRONMENT_PREFIX: &str = "COUNTERSIGN__";

/// A configuration that was read and checked, its paths absolute or relative to the working folder.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// What the API is served over; plain HTTP if absent.
    pub tls: Option<TlsSettings>,
    /// Where metrics are served; nowhere if absent.
    pub metrics_listen: Option<SocketAddr>,
    /// Where the ledger is.
    pub store: StoreSettings,
    /// Other databases, by the names that commands know them under.
    pub databases: BTreeMap<String, StoreSettings>,
    /// What is signed for.
    pub clusters: Vec<ClusterSettings>,
    /// Who may call, and as what.
    pub auth: AuthSettings,
    /// What connections may hold.
    pub connections: Limits,
    /// How many refusals of one caller are recorded.
    pub refusals: RefusalLimits,
    /// How many requests come in a second.
    pub rates: RateLimits,
    /// What failed authentications cost.
    pub failures: FailureLimits,
    /// What held requests may hold.
    pub review: ReviewLimits,
    /// How long records are kept after they ended; for ever if absent.
    pub retention: Option<Lifetime>,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// What is logged, as in `info` or `warn,countersign=debug`.
    pub log: String,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the fields are the keys of the file")]
struct File {
    #[serde(default = "default_listen")]
    listen: SocketAddr,
    metrics_listen: Option<SocketAddr>,
    #[serde(default)]
    insecure_http: bool,
    tls: Option<TlsSettings>,
    database: String,
    database_password_file: Option<PathBuf>,
    #[serde(default)]
    databases: BTreeMap<String, NamedDatabase>,
    retention: Option<Lifetime>,
    #[serde(default)]
    clusters: Vec<ClusterSettings>,
    #[serde(default)]
    auth: AuthTable,
    #[serde(default)]
    roles: Vec<RoleBinding>,
    #[serde(default)]
    trusted_proxies: Vec<Network>,
    #[serde(default)]
    limits: LimitsTable,
    #[serde(default)]
    review: ReviewTable,
    #[serde(default)]
    log_format: LogFormat,
    #[serde(default = "default_log")]
    log: String,
}

/// One `[databases.NAME]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedDatabase {
    url: String,
    password_file: Option<PathBuf>,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn default_log() -> String {
    "info".to_owned()
}

impl Config {
    /// Reads `path`, with `COUNTERSIGN__*` of the environment over it.
    ///
    /// # Errors
    /// One sentence that names the file and the key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
        let overrides = std::env::vars_os().filter_map(|(key, value)| {
            let key = key.to_str()?.strip_prefix(ENVIRONMENT_PREFIX)?.to_owned();
            Some((key, value.to_string_lossy().into_owned()))
        });
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        Self::parse(&text, overrides, folder)
            .map_err(|reason| ConfigError::Wrong { path: path.to_owned(), reason })
    }

    /// Reads `text`; `overrides` are environment variables without their prefix.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn parse(
        text: &str,
        overrides: impl IntoIterator<Item = (String, String)>,
        folder: &Path,
    ) -> Result<Self, String> {
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        for (key, value) in overrides {
            apply(&mut table, &key, &value)?;
        }
        let file: File = serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
            let path = error.path().to_string();
            let reason = error.into_inner().message().to_owned();
            if path == "." { reason } else { format!("{path}: {reason}") }
        })?;
        file.checked(folder)
    }
}

impl File {
    fn checked(self, folder: &Path) -> Result<Config, String> {
        let api = self.tls.is_none().then_some(self.listen);
        for (key, address) in [("listen", api), ("metrics_listen", self.metrics_listen)] {
            if address.is_some_and(|address| !address.ip().is_loopback()) && !self.insecure_http {
                return Err(format!(
                    "{key}: plain HTTP is for loopback only, because tokens would cross the network in the clear; set \
                     [tls], or put a TLS proxy in front and set insecure_http = true"
                ));
            }
        }
        let store = StoreSettings::parse(&self.database, self.database_password_file.as_deref(), folder)
            .map_err(|error| format!("database: {error}"))?;
        let databases = self.databases.into_iter().map(|(name, database)| {
            let settings = StoreSettings::parse(&database.url, database.password_file.as_deref(), folder);
            settings.map_err(|error| format!("databases.{name}: {error}")).map(|settings| (name, settings))
        });
        let databases = databases.collect::<Result<_, _>>()?;
        for (index, cluster) in self.clusters.iter().enumerate() {
            cluster.check().map_err(|error| format!("clusters[{index}]: {error}"))?;
        }
        if self.tls.is_none() {
            self.auth.check_without_tls()?;
        }
        let auth = self.auth.with(self.roles, self.trusted_proxies, folder);
        auth.check(self.clusters.iter().map(|cluster| cluster.name.clone()))?;
        if self.retention.is_some_and(|retention| retention < LEAST_RETENTION) {
            return Err(format!(
                "retention: is at least {LEAST_RETENTION}; without this key records are kept for ever"
            ));
        }
        telemetry::check(&self.log).map_err(|error| format!("log: {error}"))?;
        Ok(Config {
            listen: self.listen,
            tls: self.tls.map(|tls| tls.resolved_from(folder)),
            metrics_listen: self.metrics_listen,
            store,
            databases,
            clusters: self.clusters.into_iter().map(|cluster| cluster.resolved_from(folder)).collect(),
            auth,
            connections: self.limits.connections(),
            refusals: self.limits.refusals(),
            rates: self.limits.rates(),
            failures: self.limits.failures(),
            review: self.review.limits().map_err(|error| format!("review.{error}"))?,
            retention: self.retention,
            log_format: self.log_format,
            log: self.log,
        })
    }
}

/// Puts `value` at the place that `LISTEN` or `CLUSTERS__0__MAX_TTL` names.
fn apply(table: &mut Table, key: &str, value: &str) -> Result<(), String> {
    let unknown = || format!("{ENVIRONMENT_PREFIX}{key}: names no place in the configuration");
    let path: Vec<String> = key.to_ascii_lowercase().split("__").map(str::to_owned).collect();
    let (last, parents) = path.split_last().ok_or_else(unknown)?;
    let mut place = table;
    let mut parents = parents.iter();
    while let Some(name) = parents.next() {
        place = match place.entry(name.clone()).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(inner) => inner,
            Value::Array(tables) => {
                let index: usize = parents.next().and_then(|index| index.parse().ok()).ok_or_else(unknown)?;
                tables.get_mut(index).and_then(Value::as_table_mut).ok_or_else(unknown)?
            }
            _ => return Err(unknown()),
        };
    }
    let known = place.get(last);
    let value = typed(value, known).map_err(|reason| format!("{ENVIRONMENT_PREFIX}{key}: {reason}"))?;
    place.insert(last.clone(), value);
    Ok(())
}

/// The environment holds text only: `true`, `false` and numbers become what they look like, unless
/// the file holds text there; `["a", "b"]` is a list.
fn typed(text: &str, known: Option<&Value>) -> Result<Value, String> {
    if matches!(known, Some(Value::String(_))) {
        return Ok(Value::String(text.to_owned()));
    }
    if let Ok(flag) = text.parse::<bool>() {
        return Ok(Value::Boolean(flag));
    }
    if let Ok(number) = text.parse::<i64>() {
        return Ok(Value::Integer(number));
    }
    if text.starts_with('[') {
        let table: Table =
            format!("list = {text}").parse().map_err(|_| "is not a list as in [\"a\", \"b\"]".to_owned())?;
        return table.get("list").cloned().ok_or_else(|| "is not a list".to_owned());
    }
    Ok(Value::String(text.to_owned()))
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{}: {reason}", path.display())]
    Wrong { path: PathBuf, reason: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        listen = "127.0.0.1:9000"
        database = "sqlite:ledger.db"
        [[clusters]]
        name = "prod"
        server = "https://10.0.0.1:6443"
        server_ca = "ca.crt"
        client_ca = "/etc/kubernetes/pki/ca.crt"
        client_ca_key = "ca.key"
        max_ttl = "12h"
    "#;

    fn parse(text: &str, overrides: &[(&str, &str)]) -> Result<Config, String> {
        let overrides = overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Config::parse(text, overrides, Path::new("/etc/countersign"))
    }

    #[test]
    fn relative_paths_resolve_from_the_folder_of_the_file() {
        let config = parse(GOOD, &[]).unwrap();
        assert_eq!(config.store.to_string(), "/etc/countersign/ledger.db");
        assert_eq!(config.clusters[0].server_ca, Path::new("/etc/countersign/ca.crt"));
        assert_eq!(config.clusters[0].client_ca, Path::new("/etc/kubernetes/pki/ca.crt"));
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_its_path() {
        assert!(parse(&format!("lisen = 1\n{GOOD}"), &[]).unwrap_err().contains("lisen"));
        let error = parse(&GOOD.replace("max_ttl", "maxttl"), &[]).unwrap_err();
        assert!(error.contains("clusters[0]") && error.contains("maxttl"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_an_error_that_names_its_path() {
        let error = parse(&GOOD.replace("12h", "soon"), &[]).unwrap_err();
        assert!(error.contains("clusters[0].max_ttl") && error.contains("soon"), "{error}");
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let config = parse(
            GOOD,
            &[
                ("LISTEN", "127.0.0.1:1"),
                ("CLUSTERS__0__MAX_TTL", "20h"),
                ("CLUSTERS__0__RESERVED", "[\"oidc:\"]"),
            ],
        )
        .unwrap();
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.clusters[0].max_ttl.to_string(), "20h");
        assert_eq!(config.clusters[0].reserved, ["oidc:"]);
    }

    #[test]
    fn an_override_that_names_no_place_is_an_error() {
        for key in ["LISEN", "CLUSTERS__7__NAME", "LISTEN__X", "CLUSTERS__0__MAXTTL"] {
            assert!(parse(GOOD, &[(key, "1")]).is_err(), "{key}");
        }
    }

    #[test]
    fn plain_http_off_loopback_is_refused_unless_it_is_asked_for() {
        let open = GOOD.replace("127.0.0.1:9000", "0.0.0.0:9000");
        assert!(parse(&open, &[]).unwrap_err().contains("insecure_http"));
        assert!(parse(&open, &[("INSECURE_HTTP", "true")]).is_ok());
    }

    #[test]
    fn tls_needs_no_word_for_any_address_but_the_metrics_do() {
        let open = GOOD.replace("127.0.0.1:9000", "0.0.0.0:9000");
        let text = format!("{open}\n[tls]\ncertificate = \"tls.crt\"\nkey = \"/run/tls.key\"\n");
        let tls = parse(&text, &[]).unwrap().tls.unwrap();
        assert_eq!(tls.certificate, Path::new("/etc/countersign/tls.crt"));
        assert_eq!((tls.key.as_path(), tls.client_ca), (Path::new("/run/tls.key"), None));
        let error = parse(&text, &[("METRICS_LISTEN", "0.0.0.0:9090")]).unwrap_err();
        assert!(error.contains("metrics_listen"), "{error}");
        assert!(parse(&text.replace("\nkey =", "\nkeys ="), &[]).unwrap_err().contains("tls"));
    }

    #[test]
    fn a_database_of_no_known_engine_is_refused() {
        for database in ["", "sqlite:", "mysql://x", "countersign.db", "postgres://x"] {
            let error = parse(&GOOD.replace("sqlite:ledger.db", database), &[]).unwrap_err();
            assert!(error.starts_with("database: "), "{database}: {error}");
        }
    }

    #[test]
    fn records_are_kept_for_ever_or_for_thirty_days_at_least() {
        assert_eq!(parse(GOOD, &[]).unwrap().retention, None);
        let kept = |text: &str| parse(&format!("retention = {text}\n{GOOD}"), &[]);
        assert_eq!(kept("\"2555d\"").unwrap().retention.unwrap().to_string(), "2555d");
        for wrong in ["\"29d\"", "\"0s\"", "0", "\"7y\"", "\"\""] {
            let error = kept(wrong).unwrap_err();
            assert!(error.contains("retention"), "{wrong}: {error}");
        }
    }

    #[test]
    fn limits_that_are_left_out_keep_their_defaults() {
        assert_eq!(parse(GOOD, &[]).unwrap().refusals, RefusalLimits::default());
        let config = parse(&format!("{GOOD}\n[limits]\nrefusals_burst = 5"), &[]).unwrap();
        assert_eq!((config.refusals.burst.get(), config.refusals.per_minute.get()), (5, 60));
        let config = parse(GOOD, &[("LIMITS__REFUSALS_PER_MINUTE", "7")]).unwrap();
        assert_eq!(config.refusals.per_minute.get(), 7);
    }

    #[test]
    fn a_limit_that_is_none_is_an_error() {
        for wrong in ["refusals_burst = 0", "refusals_per_minute = -1", "refusals = 3"] {
            let error = parse(&format!("{GOOD}\n[limits]\n{wrong}"), &[]).unwrap_err();
            assert!(error.contains("limits"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_role_is_bound_to_callers_of_a_configured_source_only() {
        for callers in ["oidc:corp:*", "group:corp:dev", "token:portal", "cert:prod:alice", "*"] {
            let text = format!("{GOOD}\n[[roles]]\nrole = \"requester\"\ncallers = [\"{callers}\"]");
            let error = parse(&text, &[]).unwrap_err();
            assert!(error.starts_with("roles[0].callers[0]: "), "{error}");
        }
    }

    #[test]
    fn databases_have_names_and_password_files_of_their_own() {
        let text = GOOD.replace(
            "[[clusters]]",
            "[databases.big]\nurl = \"postgres://me@localhost/big\"\npassword_file = \"big.password\"\n[[clusters]]",
        );
        let config = parse(&text, &[]).unwrap();
        assert_eq!(config.databases["big"].to_string(), "postgres://me@localhost:5432/big");
        let wrong = parse(&text.replace("@localhost", "@db.example"), &[]).unwrap_err();
        assert!(wrong.starts_with("databases.big: ") && wrong.contains("verify-full"), "{wrong}");
        assert!(parse(&text.replace("password_file", "password"), &[]).is_err());
    }

    #[test]
    fn a_password_in_the_configuration_is_never_shown() {
        let text = GOOD.replace("sqlite:ledger.db", "postgres://me:hunter2@localhost/ledger");
        assert!(!format!("{:?}", parse(&text, &[]).unwrap()).contains("hunter2"));
        let error = parse(&text.replace("@localhost", "@db.example"), &[]).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

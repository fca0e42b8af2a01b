//! `[[auth.kubernetes]]`: pods, by the service-account tokens that their cluster signs.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::jwt::{Algorithm, Claims, JwtError};
use super::oidc::{check_age, default_max_token_age};
use super::url::HttpsUrl;
use crate::caller::{self, Caller, CallerKind};
use crate::pki::name::ShortName;
use crate::time::Lifetime;

/// What kubeadm, k3s and most others call themselves.
const USUAL_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// One `[[auth.kubernetes]]` table of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubernetesSettings {
    /// The cluster, as in `sa:CLUSTER:NAMESPACE:NAME`.
    pub cluster: ShortName,
    /// `iss` of its tokens. Many clusters have the same, so it does not tell them apart.
    #[serde(default = "usual_issuer")]
    pub issuer: String,
    /// Its keys in a file: what `kubectl get --raw /openid/v1/jwks` prints.
    pub jwks_file: Option<PathBuf>,
    /// The API server, to ask for its keys.
    pub server: Option<String>,
    /// The CA by which the API server is trusted.
    pub ca: Option<PathBuf>,
    /// A token for the API server, where it tells its keys to nobody without one. Read each time.
    pub token_file: Option<PathBuf>,
    /// What `aud` must be or hold: ours, never the API server's own.
    pub audience: String,
    /// How its tokens may be signed.
    #[serde(default = "usual_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Neither `exp - iat` nor `now - iat` may exceed it.
    #[serde(default = "default_max_token_age")]
    pub max_token_age: Lifetime,
}

fn usual_issuer() -> String {
    USUAL_ISSUER.to_owned()
}

fn usual_algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256, Algorithm::ES256]
}

impl KubernetesSettings {
    /// The same settings with every file name taken from `folder`.
    #[must_use]
    pub fn resolved_from(mut self, folder: &Path) -> Self {
        for path in [&mut self.jwks_file, &mut self.ca, &mut self.token_file] {
            *path = path.take().map(|path| folder.join(path));
        }
        self
    }

    /// Checks what can be checked without a file and without the cluster.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn check(&self) -> Result<(), String> {
        HttpsUrl::parse(&self.issuer).map_err(|reason| format!("issuer: {reason}"))?;
        match (&self.jwks_file, &self.server, &self.ca, &self.token_file) {
            (Some(_), None, None, None) => {}
            (None, Some(server), Some(_), _) => {
                HttpsUrl::parse(server).map_err(|reason| format!("server: {reason}"))?;
            }
            _ => return Err("jwks_file: give it, or server and ca, and not both".to_owned()),
        }
        if self.algorithms.is_empty() {
            return Err("algorithms: an empty list accepts no token".to_owned());
        }
        check_age(self.max_token_age)?;
        self.check_audience().map_err(|reason| format!("audience: {reason}"))
    }

    /// A token that opens the API server must not open this service: whoever reads one from a pod, or
    /// is sent one, would be that pod here too.
    fn check_audience(&self) -> Result<(), &'static str> {
        let bare = |text: &str| text.trim_end_matches('/').to_ascii_lowercase();
        let audience = bare(&self.audience);
        let host = audience.strip_prefix("https://").unwrap_or(&audience);
        let host = host.split([':', '/']).next().unwrap_or_default();
        if audience.is_empty() || audience.len() > 253 {
            Err("it has 1 to 253 bytes")
        } else if host == "kubernetes.default.svc" || host.starts_with("kubernetes.default.svc.") {
            Err("this is the API server's own: choose one for this service, as `countersign`")
        } else if audience == bare(&self.issuer) {
            Err("this is the issuer, which is the API server's own by default: choose one for this service")
        } else if self.server.as_deref().is_some_and(|server| bare(server) == audience) {
            Err("this is the API server: choose one for this service, as `countersign`")
        } else {
            Ok(())
        }
    }

    /// The service account that a token speaks of, once it is verified and its standing is read.
    ///
    /// # Errors
    /// `ServiceAccount`: `sub` and the claim `kubernetes.io` do not name the same one.
    pub fn caller(&self, subject: &str, claims: &Claims) -> Result<Caller, JwtError> {
        let named = subject.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
        let (namespace, name) = named.ok_or(JwtError::ServiceAccount)?;
        let bound = claims.get("kubernetes.io");
        let said = |path: &[&str]| {
            path.iter().try_fold(bound?, |value, name| value.get(name)).and_then(Value::as_str)
        };
        let agree =
            said(&["namespace"]) == Some(namespace) && said(&["serviceaccount", "name"]) == Some(name);
        if !agree || !is_label(namespace) || !is_subdomain(name) {
            return Err(JwtError::ServiceAccount);
        }
        Ok(Caller {
            kind: CallerKind::ServiceAccount,
            source: Some(self.cluster.clone()),
            name: format!("{namespace}:{name}"),
            groups: Vec::new(),
            claims: caller::Claims::new(),
            proven: None,
        })
    }
}

/// A namespace (RFC 1123 label).
fn is_label(text: &str) -> bool {
    text.len() <= 63 && !text.contains('.') && is_subdomain(text)
}

/// The name of a service account (RFC 1123 subdomain).
fn is_subdomain(text: &str) -> bool {
    let inner = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
    let ends = |part: &str| {
        part.bytes().next().is_some_and(inner)
            && part.bytes().next_back().is_some_and(inner)
            && part.bytes().all(|octet| inner(octet) || octet == b'-')
    };
    (1..=253).contains(&text.len()) && text.split('.').all(ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(more: &str) -> Result<KubernetesSettings, String> {
        let text = format!("cluster = \"prod\"\n{more}");
        toml::from_str(&text).map_err(|error| error.to_string())
    }

    fn checked(more: &str) -> Result<(), String> {
        settings(more)?.check()
    }

    const GOOD: &str = "jwks_file = \"k.json\"\naudience = \"countersign\"\n";

    #[test]
    fn keys_come_from_a_file_or_from_the_api_server() {
        assert_eq!(checked(GOOD), Ok(()));
        let server = "audience = \"countersign\"\nserver = \"https://10.0.0.1:6443\"\n";
        assert_eq!(checked(&format!("{server}ca = \"ca.crt\"")), Ok(()));
        assert_eq!(checked(&format!("{server}ca = \"ca.crt\"\ntoken_file = \"t\"")), Ok(()));
        for wrong in [
            server.to_owned(),
            "audience = \"countersign\"".to_owned(),
            format!("{server}ca = \"ca.crt\"\njwks_file = \"k.json\""),
            format!("{GOOD}token_file = \"t\""),
            server.replace("https", "http") + "ca = \"ca.crt\"",
        ] {
            assert!(checked(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_audience_is_never_the_api_server() {
        for audience in [
            "",
            "https://kubernetes.default.svc",
            "https://kubernetes.default.svc/",
            "https://kubernetes.default.svc.cluster.local",
            "https://KUBERNETES.default.svc.cluster.local:443",
            "kubernetes.default.svc",
            "https://kubernetes.default.svc.corp.example/x",
        ] {
            let text = format!("jwks_file = \"k\"\naudience = \"{audience}\"");
            assert!(checked(&text).unwrap_err().starts_with("audience"), "{audience}");
        }
        let own = "jwks_file = \"k\"\nissuer = \"https://oidc.eks.example/id/1\"\naudience = \"https://oidc.eks.example/id/1/\"";
        assert!(checked(own).unwrap_err().starts_with("audience"));
        let server =
            "server = \"https://api.example:6443\"\nca = \"c\"\naudience = \"https://api.example:6443\"";
        assert!(checked(server).unwrap_err().starts_with("audience"));
    }

    #[test]
    fn a_service_account_is_named_twice_and_alike() {
        let settings = settings(GOOD).unwrap();
        let caller = |sub: &str, claims: Value| settings.caller(sub, claims.as_object().unwrap());
        let bound = |namespace: Value, name: Value| json!({ "kubernetes.io": { "namespace": namespace, "serviceaccount": { "name": name, "uid": "u" } } });
        let good =
            caller("system:serviceaccount:ci:build.er", bound(json!("ci"), json!("build.er"))).unwrap();
        assert_eq!(good.to_string(), "sa:prod:ci:build.er");
        assert_eq!((good.groups.len(), good.claims.len()), (0, 0));
        for (sub, claims) in [
            ("system:serviceaccount:ci:builder", json!({})),
            ("system:serviceaccount:ci:builder", json!({ "kubernetes.io": "ci" })),
            ("system:serviceaccount:ci:builder", bound(json!("ci"), json!("other"))),
            ("system:serviceaccount:ci:builder", bound(json!("other"), json!("builder"))),
            ("system:serviceaccount:ci:builder", bound(json!(["ci"]), json!("builder"))),
            ("system:serviceaccount:ci:a:b", bound(json!("ci"), json!("a:b"))),
            ("system:serviceaccount::builder", bound(json!(""), json!("builder"))),
            ("system:serviceaccount:ci:", bound(json!("ci"), json!(""))),
            ("system:serviceaccount:ci:*", bound(json!("ci"), json!("*"))),
            ("system:serviceaccount:CI:builder", bound(json!("CI"), json!("builder"))),
            ("system:serviceaccount:a.b:builder", bound(json!("a.b"), json!("builder"))),
            ("system:node:ci:builder", bound(json!("ci"), json!("builder"))),
            ("alice", bound(json!("ci"), json!("builder"))),
        ] {
            assert_eq!(caller(sub, claims.clone()), Err(JwtError::ServiceAccount), "{sub} {claims}");
        }
    }
}

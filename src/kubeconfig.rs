//! Renders a kubeconfig (client-go tools/clientcmd/api/v1). Pure: names are serialised by a YAML
//! library, never put into a template.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::pki::name::{Name, ShortName};
use crate::pki::serial::Serial;
use crate::time::Time;

/// The longest part of a file name that comes from a user's name, in characters.
const LONGEST_STEM: usize = 64;
/// The longest `key_path`, in bytes.
const LONGEST_KEY_PATH: usize = 128;

/// A bare file name of `[A-Za-z0-9._@-]`, for `client-key`. kubectl looks for it in the folder of
/// the kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath(String);

impl KeyPath {
    /// Takes a bare file name; none for anything else, a path above all.
    pub fn parse(text: &str) -> Option<Self> {
        let bare = text.bytes().all(is_safe) && !text.starts_with(['.', '-']);
        (bare && (1..=LONGEST_KEY_PATH).contains(&text.len())).then(|| Self(text.to_owned()))
    }

    /// `alice.key` for the user `alice`.
    #[must_use]
    pub fn for_user(user: &Name) -> Self {
        Self(format!("{}.key", stem(user.as_str())))
    }

    /// The file name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Shape {
    /// To be used as it is: it has a `current-context`.
    #[default]
    Standalone,
    /// To be merged: it has none, so that merging never switches the user's context.
    Fragment,
}

impl Shape {
    /// Reads `standalone` or `fragment`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "standalone" => Some(Self::Standalone),
            "fragment" => Some(Self::Fragment),
            _ => None,
        }
    }
}

/// Everything that a kubeconfig says.
#[derive(Clone, Debug)]
pub struct Kubeconfig<'a> {
    /// The cluster's name, and its entry's.
    pub cluster: &'a ShortName,
    /// The API server's URL.
    pub server: &'a str,
    /// The CA by which kubectl trusts the API server.
    pub server_ca_pem: &'a str,
    /// The context's namespace.
    pub namespace: Option<&'a str>,
    /// The user of the certificate.
    pub user: &'a Name,
    /// The groups of the certificate, for the comment.
    pub groups: &'a [Name],
    /// Leaf first, then intermediates.
    pub certificate_pem: &'a str,
    /// The certificate's serial, for the comment.
    pub serial: Serial,
    /// When it ends, for the comment.
    pub not_after: Time,
    /// Where the private key lies, beside this file.
    pub key_path: &'a KeyPath,
    /// With or without a current context.
    pub shape: Shape,
}

impl Kubeconfig<'_> {
    /// The file's text: comments, then YAML.
    #[must_use]
    pub fn render(&self) -> String {
        let entry = format!("{}@{}", self.user, self.cluster);
        let document = Document {
            api_version: "v1",
            kind: "Config",
            clusters: [Cluster {
                name: self.cluster.as_str(),
                cluster: ClusterEntry {
                    server: self.server,
                    certificate_authority_data: STANDARD.encode(self.server_ca_pem),
                },
            }],
            users: [User {
                name: &entry,
                user: UserEntry {
                    client_certificate_data: STANDARD.encode(self.certificate_pem),
                    client_key: self.key_path.as_str(),
                },
            }],
            contexts: [Context {
                name: &entry,
                context: ContextEntry {
                    cluster: self.cluster.as_str(),
                    user: &entry,
                    namespace: self.namespace,
                },
            }],
            current_context: (self.shape == Shape::Standalone).then_some(&entry),
        };
        // A struct of strings always serialises.
        format!("{}{}", self.comments(), serde_saphyr::to_string(&document).unwrap_or_default())
    }

    fn comments(&self) -> String {
        let groups: Vec<String> = self.groups.iter().map(|group| printable(group.as_str())).collect();
        let groups = if groups.is_empty() { "none".to_owned() } else { groups.join(", ") };
        let file = file_name(self.user, self.cluster, "kubeconfig");
        let key = self.key_path.as_str();
        let mut text = String::new();
        for line in [
            format!("{} on {}, groups: {groups}", printable(self.user.as_str()), self.cluster),
            format!("expires {}, serial {}", self.not_after, self.serial),
            format!(
                "The private key is {key}, in the folder of this file. To merge both into yours, new file first:"
            ),
            format!(
                "  KUBECONFIG=\"./{file}:$HOME/.kube/config\" kubectl config view --flatten > merged.tmp && \
                 mv merged.tmp \"$HOME/.kube/config\""
            ),
        ] {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# {line}");
        }
        text
    }
}

/// `alice@prod.kubeconfig`: safe in a header, on a disk and in a shell. Where characters had to go,
/// a digest of the name keeps two users apart.
#[must_use]
pub fn file_name(user: &Name, cluster: &ShortName, extension: &str) -> String {
    format!("{}@{cluster}.{extension}", stem(user.as_str()))
}

fn stem(user: &str) -> String {
    let kept: String = user
        .chars()
        .take(LONGEST_STEM)
        .map(|c| if u8::try_from(c).is_ok_and(is_safe) { c } else { '_' })
        .collect();
    let kept = if kept.starts_with(['.', '-']) { format!("_{kept}") } else { kept };
    if kept == user {
        return kept;
    }
    let hash = digest(&SHA256, user.as_bytes());
    format!("{kept}-{}", hex::encode(hash.as_ref().get(..4).unwrap_or_default()))
}

const fn is_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b'-')
}

/// A line separator in a name would end the comment, and what follows would be YAML.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if matches!(c, ' '..='~') { c.to_string() } else { c.escape_unicode().to_string() })
        .collect()
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    clusters: [Cluster<'a>; 1],
    users: [User<'a>; 1],
    contexts: [Context<'a>; 1],
    #[serde(rename = "current-context", skip_serializing_if = "Option::is_none")]
    current_context: Option<&'a String>,
}

#[derive(Serialize)]
struct Cluster<'a> {
    name: &'a str,
    cluster: ClusterEntry<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ClusterEntry<'a> {
    server: &'a str,
    certificate_authority_data: String,
}

#[derive(Serialize)]
struct User<'a> {
    name: &'a str,
    user: UserEntry<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct UserEntry<'a> {
    client_certificate_data: String,
    client_key: &'a str,
}

#[derive(Serialize)]
struct Context<'a> {
    name: &'a str,
    context: ContextEntry<'a>,
}

#[derive(Serialize)]
struct ContextEntry<'a> {
    cluster: &'a str,
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Names that YAML reads as something else, or that end a line somewhere.
    const HOSTILE: &[&str] = &[
        "yes",
        "null",
        "~",
        "1e3",
        "0x10",
        "2026-01-01",
        "true",
        "a: b",
        "a #b",
        "- a",
        "'",
        "\"",
        "\\",
        "{a}",
        "[a]",
        "&a",
        "*a",
        "!a",
        "%a",
        "@a",
        "`a",
        "|",
        ">",
        "?",
        "a'b\"c",
        "Zoë",
        "王小明",
        "a{{b}}",
        "=cmd",
        "<<",
    ];

    fn rendered(user: &str, groups: &[&str], shape: Shape) -> String {
        let user = Name::parse(user).unwrap();
        let groups: Vec<Name> = groups.iter().map(|group| Name::parse(group).unwrap()).collect();
        Kubeconfig {
            cluster: &ShortName::parse("prod").unwrap(),
            server: "https://10.0.0.1:6443",
            server_ca_pem: "server CA",
            namespace: Some("default"),
            user: &user,
            groups: &groups,
            certificate_pem: "certificate",
            serial: Serial::from_random([7; 16]),
            not_after: Time::from_unix(1_780_000_000),
            key_path: &KeyPath::for_user(&user),
            shape,
        }
        .render()
    }

    fn parsed(text: &str) -> Value {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn every_name_comes_back_as_it_was() {
        for name in HOSTILE {
            let config = parsed(&rendered(name, &[name], Shape::Standalone));
            let entry = format!("{name}@prod");
            assert_eq!(config["users"][0]["name"], entry.as_str(), "{name}");
            assert_eq!(config["contexts"][0]["name"], entry.as_str(), "{name}");
            assert_eq!(config["contexts"][0]["context"]["user"], entry.as_str(), "{name}");
            assert_eq!(config["current-context"], entry.as_str(), "{name}");
        }
    }

    #[test]
    fn comments_are_printable_ascii_on_lines_of_their_own() {
        for name in HOSTILE {
            let text = rendered(name, HOSTILE, Shape::Standalone);
            let comments: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
            assert_eq!(comments.len(), 4, "{name}");
            assert!(
                comments.iter().all(|line| line.bytes().all(|byte| (b' '..=b'~').contains(&byte))),
                "{name}"
            );
        }
        assert_eq!(printable("a\u{2028}b\u{85}c\r"), "a\\u{2028}b\\u{85}c\\u{d}");
    }

    #[test]
    fn a_fragment_never_switches_the_context() {
        assert!(parsed(&rendered("alice", &[], Shape::Fragment)).get("current-context").is_none());
        assert_eq!(parsed(&rendered("alice", &[], Shape::Standalone))["current-context"], "alice@prod");
    }

    #[test]
    fn the_key_is_a_bare_name_beside_the_file() {
        assert_eq!(
            parsed(&rendered("alice", &[], Shape::Standalone))["users"][0]["user"]["client-key"],
            "alice.key"
        );
        for good in ["alice.key", "a", "A_1@b-c.pem"] {
            assert_eq!(KeyPath::parse(good).map(|path| path.0).as_deref(), Some(good));
        }
        let long = "a".repeat(129);
        for bad in
            ["", ".", "..", ".ssh", "-rf", "a/b", "../a", "/a", "a b", "a\n", "é", "a:b", "~", long.as_str()]
        {
            assert_eq!(KeyPath::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn two_users_never_share_a_file() {
        let file = |user: &str| {
            file_name(&Name::parse(user).unwrap(), &ShortName::parse("prod").unwrap(), "kubeconfig")
        };
        assert_eq!(file("alice"), "alice@prod.kubeconfig");
        assert_eq!(file("alice@corp.com"), "alice@corp.com@prod.kubeconfig");
        let odd =
            ["a/b", "a:b", "a_b", "..", "-a", "é", "è", "ci/deploy-1", &"x".repeat(100), &"x".repeat(101)];
        let files: std::collections::HashSet<String> = odd.iter().map(|user| file(user)).collect();
        assert_eq!(files.len(), odd.len());
        assert!(
            files
                .iter()
                .all(|file| file.bytes().all(is_safe) && !file.starts_with(['.', '-']) && file.len() < 120)
        );
    }

    #[test]
    fn the_certificate_and_the_ca_are_embedded() {
        let config = parsed(&rendered("alice", &[], Shape::Standalone));
        let data = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
        assert_eq!(data(&config["clusters"][0]["cluster"]["certificate-authority-data"]), b"server CA");
        assert_eq!(data(&config["users"][0]["user"]["client-certificate-data"]), b"certificate");
        assert_eq!(config["contexts"][0]["context"]["namespace"], "default");
    }
}

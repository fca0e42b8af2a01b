//! Renders a kubeconfig. Pure: names are serialised by a YAML library, never templated.
//!
//! The private key stays with its owner: `client-key` is a bare file name, which kubectl resolves
//! from the folder of the kubeconfig (k8s.io/client-go/tools/clientcmd, `ResolveLocalPaths`).

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use crate::pki::name::{Name, ShortName};
use crate::pki::serial::Serial;
use crate::time::Time;

/// What one takes beside its cluster's entry, in bytes.
const USUAL_BYTES: usize = 3 * 1_024;
/// The longest name of a file that is made up here, in bytes.
const LONGEST_FILE_NAME: usize = 100;
/// What is left of a user's name in a file name beside a long cluster name, in bytes.
const SHORTEST_STEM: usize = 24;
/// The longest name of a file that Linux and macOS take, in bytes.
const LONGEST_KEY_PATH: usize = 255;

/// A bare file name of `[A-Za-z0-9._@-]`, for `client-key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath(String);

impl KeyPath {
    /// Takes a bare name of `[A-Za-z0-9._@-]`, at most 255 bytes, that is neither `.` nor `..` and
    /// does not begin with `-`, which programs would read as an option.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let sound = !text.is_empty()
            && text.len() <= LONGEST_KEY_PATH
            && text.bytes().all(stands_in_file_name)
            && !text.starts_with('-')
            && !text.bytes().all(|byte| byte == b'.');
        sound.then(|| Self(text.to_owned()))
    }

    /// `alice.key` for the user `alice`; what cannot stand in a file name is replaced.
    #[must_use]
    pub fn for_user(user: &Name) -> Self {
        Self(format!("{}.key", stem(user, LONGEST_FILE_NAME.saturating_sub(".key".len()))))
    }

    /// The file name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a kubeconfig is for use as it is or for merging.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Shape {
    /// Has a `current-context`; without one kubectl tries localhost:8080.
    #[default]
    Standalone,
    /// Has none, so that merging never switches the user's context.
    Fragment,
}

impl Shape {
    /// Reads `standalone` or `fragment`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "standalone" => Some(Self::Standalone),
            "fragment" => Some(Self::Fragment),
            _ => None,
        }
    }
}

/// What a cluster puts into each of its kubeconfigs: the head of the file and the entry under
/// `clusters`, written once because most of it is the server's CA.
#[derive(Clone, Debug)]
pub struct ClusterEntry {
    /// The cluster's name as a value.
    name: String,
    yaml: String,
}

impl ClusterEntry {
    /// For a cluster of this name, with the API server's URL from the configuration and what
    /// kubectl trusts it by.
    #[must_use]
    pub fn new(name: &ShortName, server: &str, server_ca_pem: &str) -> Self {
        let certificate_authority_data = STANDARD.encode(server_ca_pem);
        let cluster = Cluster { server, certificate_authority_data };
        let head = Head {
            api_version: "v1",
            kind: "Config",
            clusters: [NamedCluster { name: name.as_str(), cluster }],
        };
        let mut yaml = String::new();
        write_yaml(&head, &mut yaml);
        Self { name: scalar(name.as_str()), yaml }
    }
}

/// What goes into a kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubeconfig<'a> {
    /// The cluster, and the context's part after the `@`.
    pub cluster: &'a ShortName,
    /// Of the same cluster.
    pub cluster_entry: &'a ClusterEntry,
    /// The context's namespace.
    pub namespace: Option<&'a str>,
    /// The CN.
    pub user: &'a Name,
    /// Each O.
    pub groups: &'a [Name],
    /// Leaf first, then intermediates.
    pub certificate_pem: &'a str,
    /// The leaf's.
    pub serial: Serial,
    /// The leaf's.
    pub not_after: Time,
    /// Where the private key lies, beside the kubeconfig.
    pub key_path: &'a KeyPath,
    /// Whether it has a `current-context`.
    pub shape: Shape,
}

impl Kubeconfig<'_> {
    /// The file: comments in printable ASCII, then YAML.
    #[must_use]
    pub fn render(&self) -> String {
        let mut file = String::with_capacity(USUAL_BYTES.saturating_add(self.cluster_entry.yaml.len()));
        // Writing into a String does not fail.
        let _ = self.write_comments(&mut file);
        // Two mappings without a key in common, one after the other, are one mapping.
        file.push_str(&self.cluster_entry.yaml);
        let _ = self.write_rest(&mut file);
        file
    }

    /// Only printable ASCII: YAML ends a comment at U+0085, U+2028 and U+2029 too.
    fn write_comments(&self, to: &mut String) -> fmt::Result {
        writeln!(to, "# user: {}", printable(self.user.as_str()))?;
        to.push_str("# groups: ");
        for (place, group) in self.groups.iter().enumerate() {
            to.push_str(if place == 0 { "" } else { ", " });
            to.push_str(&printable(group.as_str()));
        }
        writeln!(to, "{}", if self.groups.is_empty() { "none" } else { "" })?;
        writeln!(to, "# cluster: {}", self.cluster)?;
        writeln!(to, "# expires: {}", self.not_after)?;
        writeln!(to, "# serial: {}", self.serial)?;
        writeln!(to, "# key: {}, beside this file", self.key_path.as_str())?;
        to.push_str("# To merge, with this file first, because the first one wins:\n");
        writeln!(to, "# {}", merge_line(&file_name(self.user, self.cluster, "kubeconfig")))
    }

    /// The library writes each value, quoted and on one line; around them stand only keys of ours.
    fn write_rest(&self, to: &mut String) -> fmt::Result {
        let cluster = &self.cluster_entry.name;
        let context = scalar(&format!("{}@{}", self.user, self.cluster));
        write!(to, "users:\n- name: {context}\n  user:\n    client-certificate-data: '")?;
        // Base64 has no character that means anything there.
        STANDARD.encode_string(self.certificate_pem, to);
        writeln!(to, "'\n    client-key: {}", scalar(self.key_path.as_str()))?;
        writeln!(
            to,
            "contexts:\n- name: {context}\n  context:\n    cluster: {cluster}\n    user: {context}"
        )?;
        if let Some(namespace) = self.namespace {
            writeln!(to, "    namespace: {}", scalar(namespace))?;
        }
        match self.shape {
            Shape::Standalone => writeln!(to, "current-context: {context}"),
            Shape::Fragment => Ok(()),
        }
    }
}

/// `alice@prod.kubeconfig`: only `[A-Za-z0-9._@-]`, about a hundred bytes at most, without a dot or
/// dash at its start; safe in a header and on a disk. A user name that had to be changed is followed
/// by a short hash, so that two users never share a file.
#[must_use]
pub fn file_name(user: &Name, cluster: &ShortName, extension: &str) -> String {
    let rest = format!("@{cluster}.{extension}");
    let room = LONGEST_FILE_NAME.saturating_sub(rest.len()).max(SHORTEST_STEM);
    format!("{}{rest}", stem(user, room))
}

/// One value as the library writes it, in quotes and without the end of its line.
fn scalar(text: &str) -> String {
    let mut yaml = String::with_capacity(text.len().saturating_add(3));
    write_yaml(&text, &mut yaml);
    yaml.truncate(yaml.trim_end_matches('\n').len());
    yaml
}

fn write_yaml(part: &impl Serialize, to: &mut String) {
    let options = serde_saphyr::ser_options! { quote_all: true, prefer_block_scalars: false };
    // Strings and lists cannot fail to serialise, and writing into a String does not fail.
    let _ = serde_saphyr::to_fmt_writer_with_options(to, part, options);
}

#[derive(Serialize)]
struct Head<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    clusters: [NamedCluster<'a>; 1],
}

#[derive(Serialize)]
struct NamedCluster<'a> {
    name: &'a str,
    cluster: Cluster<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster<'a> {
    server: &'a str,
    certificate_authority_data: String,
}

/// The new file comes first: with the old one first an old entry of the same name would win,
/// silently. The merged file holds the private key, so nobody else may read it at any moment.
fn merge_line(file: &str) -> String {
    format!(
        "KUBECONFIG=./{file}:$HOME/.kube/config sh -c \
         'umask 077; kubectl config view --flatten > merged' && mv merged \"$HOME/.kube/config\""
    )
}

fn printable(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| matches!(c, ' '..='~') && c != '\\';
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut printed = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            printed.push(c);
        } else {
            printed.extend(c.escape_unicode());
        }
    }
    Cow::Owned(printed)
}

fn stands_in_file_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b'-')
}

/// The user's name as the start of a file name of at most `room` bytes.
fn stem(user: &Name, room: usize) -> String {
    let name = user.as_str();
    if name.len() <= room && name.bytes().all(stands_in_file_name) && !name.starts_with(['.', '-']) {
        return name.to_owned();
    }
    let replaced: String = name
        .chars()
        .enumerate()
        .map(|(place, c)| {
            let stands = u8::try_from(c).is_ok_and(stands_in_file_name);
            let hides = place == 0 && matches!(c, '.' | '-');
            if stands && !hides { c } else { '_' }
        })
        .collect();
    let mark = digest(&SHA256, name.as_bytes());
    let mark = mark.as_ref().iter().take(4).fold(0_u32, |mark, octet| mark << 8 | u32::from(*octet));
    let kept: String = replaced.chars().take(room.saturating_sub("-01234567".len())).collect();
    format!("{kept}-{mark:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

    /// Names that a YAML reader could take for something else, or that could end a line or a string.
    const HOSTILE: [&str; 40] = [
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
        "true",
        "null",
        "Null",
        "~",
        "1e3",
        "0x10",
        "0o7",
        "010",
        "1_000",
        ".inf",
        ".nan",
        "1:30",
        "190:20:30",
        "2026-06-01",
        "2026-06-01T00:00:00Z",
        "=",
        "<<",
        "-",
        "---",
        "...",
        "? a",
        "- a",
        "a: b",
        "a #b",
        "'",
        "\"",
        "\\n",
        "%x",
        "{a}",
        "*a",
        "&a",
        "!!str a",
        "é😀",
        "a'\"b",
    ];

    fn render(user: &str, groups: &[&str], shape: Shape) -> String {
        let user = Name::parse(user).expect("a name");
        let groups: Vec<Name> = groups.iter().map(|group| Name::parse(group).expect("a name")).collect();
        let cluster = ShortName::parse("prod").expect("a name");
        Kubeconfig {
            cluster: &cluster,
            cluster_entry: &ClusterEntry::new(&cluster, "https://prod.example:6443", PEM),
            namespace: Some("1e3"),
            user: &user,
            groups: &groups,
            certificate_pem: PEM,
            serial: Serial::from_random([0x11; 16]),
            not_after: Time::from_unix(1_800_000_000),
            key_path: &KeyPath::for_user(&user),
            shape,
        }
        .render()
    }

    /// What stands after the cluster's entry, as the library writes the whole of it.
    #[derive(Serialize)]
    struct Rest<'a> {
        users: [NamedUser<'a>; 1],
        contexts: [NamedContext<'a>; 1],
        #[serde(rename = "current-context", skip_serializing_if = "Option::is_none")]
        current_context: Option<String>,
    }

    #[derive(Serialize)]
    struct NamedUser<'a> {
        name: String,
        user: User<'a>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct User<'a> {
        client_certificate_data: String,
        client_key: &'a str,
    }

    #[derive(Serialize)]
    struct NamedContext<'a> {
        name: String,
        context: Context<'a>,
    }

    #[derive(Serialize)]
    struct Context<'a> {
        cluster: &'a str,
        user: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'a str>,
    }

    fn by_the_library(user: &str, namespace: Option<&str>, shape: Shape) -> String {
        let context = format!("{user}@prod");
        let key_path = KeyPath::for_user(&Name::parse(user).expect("a name"));
        let user = User { client_certificate_data: STANDARD.encode(PEM), client_key: key_path.as_str() };
        let rest = Rest {
            users: [NamedUser { name: context.clone(), user }],
            contexts: [NamedContext {
                name: context.clone(),
                context: Context { cluster: "prod", user: context.clone(), namespace },
            }],
            current_context: (shape == Shape::Standalone).then_some(context),
        };
        let mut yaml = String::new();
        write_yaml(&rest, &mut yaml);
        yaml
    }

    #[test]
    fn the_file_is_what_the_library_makes_of_the_whole() {
        let long = ["x ".repeat(126), "é".repeat(126)].map(|long| long.trim_end().to_owned());
        let users = HOSTILE.into_iter().chain(long.iter().map(String::as_str)).chain(["alice", "王"]);
        for user in users {
            for shape in [Shape::Standalone, Shape::Fragment] {
                let file = render(user, &[], shape);
                let rest = file.split_once("\nusers:").map(|(_, rest)| format!("users:{rest}"));
                assert_eq!(rest.expect("users"), by_the_library(user, Some("1e3"), shape), "{user}");
            }
        }
    }

    fn read(yaml: &str) -> serde_json::Value {
        serde_saphyr::from_str(yaml).expect("yaml")
    }

    /// What `PyYAML`, a YAML 1.1 reader, makes of several files.
    fn read_by_python(files: &[String]) -> Vec<serde_json::Value> {
        let script =
            "import json,sys,yaml; print(json.dumps([yaml.safe_load(f) for f in json.load(sys.stdin)]))";
        let mut python = Command::new("python3")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is needed: ./test installs it");
        let input = serde_json::to_vec(files).expect("json");
        python.stdin.take().expect("stdin").write_all(&input).expect("python reads");
        let output = python.wait_with_output().expect("python ends");
        assert!(output.status.success(), "PyYAML is needed: ./test installs it");
        serde_json::from_slice(&output.stdout).expect("json")
    }

    fn assert_says(file: &serde_json::Value, user: &str) {
        let context = format!("{user}@prod");
        assert_eq!(file["apiVersion"], "v1");
        assert_eq!(file["kind"], "Config");
        assert_eq!(file["current-context"], context.as_str());
        assert_eq!(file["users"][0]["name"], context.as_str());
        assert_eq!(file["contexts"][0]["name"], context.as_str());
        assert_eq!(file["contexts"][0]["context"]["user"], context.as_str());
        assert_eq!(file["contexts"][0]["context"]["cluster"], "prod");
        assert_eq!(file["contexts"][0]["context"]["namespace"], "1e3");
        assert_eq!(file["clusters"][0]["name"], "prod");
        assert_eq!(file["clusters"][0]["cluster"]["server"], "https://prod.example:6443");
        let data = &file["clusters"][0]["cluster"]["certificate-authority-data"];
        assert_eq!(STANDARD.decode(data.as_str().expect("text")).expect("base64"), PEM.as_bytes());
        assert_eq!(&file["users"][0]["user"]["client-certificate-data"], data);
    }

    #[test]
    fn every_name_comes_back_as_it_was() {
        let files: Vec<String> =
            HOSTILE.iter().map(|user| render(user, &[user], Shape::Standalone)).collect();
        for (user, file) in HOSTILE.iter().zip(&files) {
            assert_says(&read(file), user);
        }
        let read = read_by_python(&files);
        assert_eq!(read.len(), HOSTILE.len());
        for (user, file) in HOSTILE.iter().zip(read) {
            assert_says(&file, user);
        }
    }

    #[test]
    fn only_names_of_keys_and_certificates_are_in_the_user() {
        let file = read(&render("alice", &[], Shape::Standalone));
        let user = file["users"][0]["user"].as_object().expect("a mapping");
        let mut fields: Vec<&str> = user.keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["client-certificate-data", "client-key"]);
        assert_eq!(user["client-key"], "alice.key");
    }

    #[test]
    fn a_fragment_has_no_current_context() {
        let text = render("alice", &[], Shape::Fragment);
        assert!(read(&text).get("current-context").is_none());
        assert_eq!(Shape::parse("fragment"), Some(Shape::Fragment));
        assert_eq!(Shape::parse("standalone"), Some(Shape::Standalone));
        assert_eq!(Shape::parse("Fragment"), None);
    }

    #[test]
    fn the_first_lines_are_comments_in_printable_ascii() {
        let text = render("zoé\u{a0}x", &["dev", "équipe"], Shape::Standalone);
        let comments: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert!(comments.iter().all(|line| line.bytes().all(|byte| matches!(byte, b' '..=b'~'))));
        assert_eq!(comments[0], "# user: zo\\u{e9}\\u{a0}x");
        assert_eq!(comments[1], "# groups: dev, \\u{e9}quipe");
        assert_eq!(comments[2], "# cluster: prod");
        assert_eq!(comments[3], "# expires: 2027-01-15T08:00:00Z");
        assert_eq!(comments[4], "# serial: 51111111111111111111111111111111");
        assert_eq!(text.matches('#').count(), comments.len());
    }

    #[test]
    fn the_merge_line_has_the_new_file_first() {
        let text = render("alice", &[], Shape::Standalone);
        let line = "# KUBECONFIG=./alice@prod.kubeconfig:$HOME/.kube/config ";
        assert_eq!(text.lines().filter(|text| text.starts_with(line)).count(), 1);
    }

    /// Runs the line of the comments as a person would.
    #[test]
    fn the_merge_line_works_and_keeps_the_old_context() {
        let home = tempfile::tempdir().expect("a folder");
        let old = render("bob", &[], Shape::Standalone).replace("prod", "old");
        std::fs::create_dir(home.path().join(".kube")).expect("a folder");
        std::fs::write(home.path().join(".kube/config"), old).expect("a file");
        std::fs::write(home.path().join(".kube/bob.key"), "bob").expect("a file");
        std::fs::write(home.path().join("alice.key"), "alice").expect("a file");
        let text = render("alice", &["dev"], Shape::Fragment);
        std::fs::write(home.path().join("alice@prod.kubeconfig"), &text).expect("a file");
        let line = text.lines().find(|line| line.starts_with("# KUBECONFIG=")).expect("a line");
        let ran = Command::new("sh")
            .args(["-ec", line.trim_start_matches("# ")])
            .current_dir(home.path())
            .env("HOME", home.path())
            .output()
            .expect("a shell");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let merged = read(&std::fs::read_to_string(home.path().join(".kube/config")).expect("a file"));
        assert_eq!(merged["current-context"], "bob@old");
        let users: Vec<&str> = merged["users"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|user| user["name"].as_str())
            .collect();
        assert_eq!(users, ["alice@prod", "bob@old"]);
        assert_eq!(merged["users"][0]["user"]["client-key-data"], STANDARD.encode("alice"));
    }

    #[test]
    fn kubectl_reads_hostile_names() {
        let folder = tempfile::tempdir().expect("a folder");
        for user in HOSTILE {
            let path = folder.path().join("config");
            std::fs::write(&path, render(user, &[user], Shape::Standalone)).expect("a file");
            let output = Command::new("kubectl")
                .args(["config", "current-context", "--kubeconfig"])
                .arg(&path)
                .output()
                .expect("kubectl is needed: ./test installs it");
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{user}@prod\n"));
        }
    }

    #[test]
    fn a_file_name_is_safe_and_bounded() {
        let cluster = ShortName::parse("prod").expect("a name");
        let name = |user: &str| file_name(&Name::parse(user).expect("a name"), &cluster, "kubeconfig");
        assert_eq!(name("alice"), "alice@prod.kubeconfig");
        assert_eq!(name("alice@example.com"), "alice@example.com@prod.kubeconfig");
        let long = "a".repeat(253);
        for user in
            [".", "..", "-rf", ".ssh", "../../etc/passwd", "a b", "system:node:a", "é", "a\"b;c", &long]
        {
            let file = name(user);
            assert!(file.bytes().all(stands_in_file_name) && file.len() <= 100, "{file}");
            assert!(!file.starts_with(['.', '-', '@']), "{file}");
        }
        let far = ShortName::parse(&"c".repeat(63)).expect("a name");
        assert!(file_name(&Name::parse(&long).expect("a name"), &far, "kubeconfig").len() <= 100);
    }

    #[test]
    fn two_users_that_read_alike_have_two_files() {
        let cluster = ShortName::parse("prod").expect("a name");
        let name = |user: &str| file_name(&Name::parse(user).expect("a name"), &cluster, "pem");
        let users = ["a:b", "a/b", "a_b", "a b", "é", "è", &"x".repeat(120), &"x".repeat(121)];
        let files: std::collections::HashSet<String> = users.iter().map(|user| name(user)).collect();
        assert_eq!(files.len(), users.len());
    }

    #[test]
    fn a_key_path_is_a_bare_name() {
        for text in ["alice.key", "a", ".key", "A_b@c-d.pem"] {
            assert_eq!(KeyPath::parse(text).as_ref().map(KeyPath::as_str), Some(text));
        }
        let long = "a".repeat(256);
        for text in ["", ".", "..", "...", "-x", "a/b", "../a", "/a", "a b", "a\n", "é", "a:b", "~", &long] {
            assert_eq!(KeyPath::parse(text), None, "{text:?}");
        }
        let user = Name::parse("system:node:a").expect("a name");
        let path = KeyPath::for_user(&user);
        assert_eq!(KeyPath::parse(path.as_str()), Some(path.clone()));
        assert!(path.as_str().starts_with("system_node_a-"), "{path:?}");
    }
}

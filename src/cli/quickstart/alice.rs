//! alice, who has openssl, curl and a token, and nothing of ours.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Deserialize;

use super::super::RefusedByPolicy;
use super::shell;

/// What she knows: her folder and where the service is.
pub(super) struct Alice {
    folder: PathBuf,
    pub url: String,
    /// Whom curl is to trust for that URL; none where it is not TLS.
    authority: Option<PathBuf>,
}

/// The part of an answer that she reads.
#[derive(Debug, Deserialize)]
pub(super) struct Signed {
    user: String,
    groups: Vec<String>,
    serial: String,
    not_after: String,
    kubeconfig: String,
}

/// The part of a problem that she reads.
#[derive(Debug, Deserialize)]
struct Problem {
    status: u16,
    detail: String,
}

impl Alice {
    pub(super) fn new(folder: &Path, url: &str, authority: Option<PathBuf>) -> Self {
        Self { folder: folder.to_owned(), url: url.to_owned(), authority }
    }

    /// Makes a key and a CSR, sends the CSR, and lays the kubeconfig beside the key.
    pub(super) fn sign(&self) -> Result<Signed> {
        let key = self.folder.join("alice.key");
        if !key.exists() {
            self.make_key(&key)?;
        }
        let csr = self.folder.join("alice.csr");
        let mut request = Command::new("openssl");
        request.args(["req", "-new", "-subj", "/CN=alice/O=dev", "-key"]).arg(&key).arg("-out").arg(&csr);
        run("openssl", &mut request)?;
        let signed = self.send(&csr)?;
        let kubeconfig = self.folder.join("alice@quickstart.kubeconfig");
        let beside = self.folder.join("alice.new");
        fs::write(&beside, &signed.kubeconfig)?;
        fs::rename(&beside, &kubeconfig).with_context(|| kubeconfig.display().to_string())?;
        Ok(signed)
    }

    fn make_key(&self, key: &Path) -> Result<()> {
        let beside = self.folder.join("alice.key.new");
        let mut make = Command::new("openssl");
        make.args(["ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out"]).arg(&beside);
        run("openssl", &mut make)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
        fs::rename(&beside, key).with_context(|| key.display().to_string())
    }

    fn send(&self, csr: &Path) -> Result<Signed> {
        let mut post = Command::new("curl");
        post.args(["-q", "-sS", "--noproxy", "*", "--max-time", "20", "-H", "Accept: application/json"]);
        if let Some(authority) = &self.authority {
            post.arg("--cacert").arg(authority);
        }
        post.arg("-H").arg(at(&self.folder.join("alice.header")));
        post.arg("--data-binary").arg(at(csr)).arg(format!("{}/v1/sign", self.url));
        let answer = run("curl", &mut post)?;
        serde_json::from_slice::<Signed>(&answer).map_err(|_| refusal(&answer))
    }
}

impl Signed {
    /// What she got, and lines that can be pasted as they are.
    pub(super) fn report(&self, folder: &Path, url: &str, authority: Option<&Path>) -> String {
        let curl =
            authority.map_or("curl -sS".to_owned(), |file| format!("curl -sS --cacert {}", shell(file)));
        let groups = self.groups.join(", ");
        let file = |name: &str| shell(&folder.join(name));
        let header = |name: &str| shell(Path::new(&format!("@{}", folder.join(name).display())));
        format!(
            "Signed for {user}, and recorded.\n\n  user     {user}\n  groups   {groups}\n  serial   {serial}\n  \
             expires  {not_after}\n  files    {key}\n           {kubeconfig}\n\n\
             The same by hand:\n  \
             openssl req -new -key {key} -subj /CN=alice/O=dev | {curl} --fail-with-body -H {alice} \
             --data-binary @- '{url}/v1/sign?ttl=1h'\n\n\
             A refusal that says why:\n  \
             openssl req -new -key {key} -subj /CN=alice/O=dev/O=admins | {curl} -H {alice} \
             --data-binary @- {url}/v1/sign\n\n\
             What an auditor sees:\n  \
             {curl} -H {auditor} '{url}/v1/certificates?user=alice'\n  \
             {curl} -H {auditor} {url}/v1/refusals\n\n\
             The policy, as its administrator reads it:\n  \
             {curl} -H {admin} {url}/v1/policies\n",
            user = self.user,
            serial = self.serial,
            not_after = self.not_after,
            key = file("alice.key"),
            kubeconfig = file("alice@quickstart.kubeconfig"),
            alice = header("alice.header"),
            auditor = header("auditor.header"),
            admin = header("admin.header"),
        )
    }
}

/// A file as curl takes it.
fn at(path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from("@");
    argument.push(path);
    argument
}

fn refusal(answer: &[u8]) -> anyhow::Error {
    match serde_json::from_slice::<Problem>(answer) {
        Ok(problem) if problem.status == 403 => RefusedByPolicy(problem.detail).into(),
        Ok(problem) => anyhow!("{}", problem.detail),
        Err(_) => anyhow!("the answer to POST /v1/sign is not one of this service's"),
    }
}

/// Runs `command` to its end and gives back its output.
fn run(name: &str, command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            anyhow!("{name} is needed and not found: install it, as in apt-get install {name}")
        }
        _ => anyhow!("{name}: {error}"),
    })?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

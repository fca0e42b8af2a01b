//! The folder of a quickstart: made once, used again as it is.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::app::cluster;
use crate::ca::throw_away;
use crate::clock::Clock;
use crate::config::Config;
use crate::pki::name::ShortName;
use crate::store::Store;
use crate::store::tokens::TokenRecord;
use crate::time::Lifetime;

use super::super::policy;
use super::super::token::{Create, Role};

/// How long a quickstart's tokens last.
const TOKEN_LIFETIME: Lifetime = Lifetime::from_seconds(86_400);

/// A token with less than this is replaced, in seconds.
const TOO_SHORT: i64 = 3_600;

const POLICIES: &str = r#"# Who may have which user name and which groups. Apply a change with
#   countersign --config countersign.toml policy apply -f policies.yaml
policies:
  - name: alice-as-herself
    description: alice's token may have her own name, the group dev, and every group that begins with view-
    effect: allow
    clusters: ["quickstart"]
    callers: ["token:alice-*"]
    users: ["alice"]
    groups: ["dev", "view-*"]
    max_ttl: 8h
  - name: nobody-gets-admins
    description: a deny row wins over every allow row
    effect: deny
    explain: true
    clusters: ["*"]
    callers: ["token:*"]
    users: ["*"]
    groups: ["admins"]
"#;

/// How a quickstart is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// HTTP, on loopback only.
    PlainOnLoopback,
    /// HTTP, on any address.
    PlainAnywhere,
    /// HTTPS, with a certificate of a throw-away authority.
    Tls,
}

/// A complete folder.
pub(super) struct Folder {
    pub path: PathBuf,
    pub config: Config,
}

impl Folder {
    /// Makes `path` and what belongs into it, or takes what is there; the database is marked so
    /// that it takes no CA but the one made here.
    ///
    /// # Errors
    /// A folder that something else, or a quickstart that was cut off, left half full.
    pub(super) async fn prepare(
        path: &Path,
        listen: Option<SocketAddr>,
        transport: Transport,
    ) -> Result<Self> {
        let settings = path.join("countersign.toml");
        if !settings.exists() {
            make(path, listen, transport).await.with_context(|| path.display().to_string())?;
        }
        let mut config = Config::read(&settings)?;
        if transport == Transport::Tls && config.tls.is_none() {
            bail!("{} was made without --tls: choose another --dir, or remove it", path.display());
        }
        if let Some(listen) = listen {
            let transport = if config.tls.is_some() { Transport::Tls } else { transport };
            check_address(listen, transport)?;
            config.listen = listen;
        }
        let folder = Self { path: path.to_owned(), config };
        folder.fill().await?;
        Ok(folder)
    }

    /// The configuration file.
    pub(super) fn settings(&self) -> PathBuf {
        self.path.join("countersign.toml")
    }

    /// Whom a client must trust; none without TLS.
    pub(super) fn tls_authority(&self) -> Option<PathBuf> {
        self.config.tls.is_some().then(|| self.path.join("tls-ca.crt"))
    }

    /// Whether another process serves this folder.
    pub(super) async fn is_served(&self) -> Result<bool> {
        let store = Store::open(&self.config.store).await?;
        let free = store.lock_for_serving().is_ok();
        store.close().await;
        Ok(!free)
    }

    /// Policies if there are none yet, and tokens that are still good for an hour.
    async fn fill(&self) -> Result<()> {
        let (clusters, rules) = cluster::load_all(self.config.clusters.clone())?;
        let store = Store::open(&self.config.store).await?;
        for cluster in clusters.values() {
            let authority = &cluster.authority;
            let (key, certificate) = (authority.spki_sha256(), authority.certificate_der());
            store.register_authority(cluster.name.as_str(), key, certificate, Clock::System.now()).await?;
        }
        if store.revisions().await?.policy == 0 {
            policy::replace(&store, &rules, &self.path.join("policies.yaml")).await?;
        }
        for (name, role) in [("alice", Role::Requester), ("auditor", Role::Auditor), ("admin", Role::Admin)] {
            self.keep_token(&store, name, role).await?;
        }
        store.close().await;
        Ok(())
    }

    /// Names are never given twice, so each new token of `name` counts up.
    async fn keep_token(&self, store: &Store, name: &str, role: Role) -> Result<()> {
        let file = self.path.join(format!("{name}.header"));
        let now = Clock::System.now();
        let prefix = format!("{name}-");
        let tokens = store.tokens().await?;
        let number = |token: &TokenRecord| token.name.as_str().strip_prefix(&prefix)?.parse::<u32>().ok();
        let own: Vec<_> = tokens.iter().filter(|token| number(token).is_some()).collect();
        let good = own
            .iter()
            .any(|token| token.revoked_at.is_none() && token.expires_at.seconds_since(now) > TOO_SHORT);
        if good && file.exists() {
            return Ok(());
        }
        let last = own.iter().filter_map(|token| number(token)).max().unwrap_or_default();
        let name = ShortName::parse(&format!("{prefix}{}", last.saturating_add(1)))?;
        let create =
            Create { name, roles: vec![role], on_behalf_of: false, owner: None, expires: TOKEN_LIFETIME };
        let token = create.make(store).await?;
        replace_private(&file, &format!("Authorization: Bearer {token}\n"))
    }
}

fn check_address(listen: SocketAddr, transport: Transport) -> Result<()> {
    if !listen.ip().is_loopback() && transport == Transport::PlainOnLoopback {
        bail!("--listen {listen}: plain HTTP is for loopback only, unless --tls or --insecure-http");
    }
    Ok(())
}

async fn make(path: &Path, listen: Option<SocketAddr>, transport: Transport) -> Result<()> {
    let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
    check_address(listen, transport)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for name in ["ca.crt", "ca.key", "countersign.db"] {
        if path.join(name).exists() {
            bail!("there is a {name} but no countersign.toml: choose another --dir, or remove what is there");
        }
    }
    let (certificate, key) = throw_away::make("Countersign quickstart, throw away", Clock::System.now())?;
    write_new(&path.join("ca.key"), 0o600, &key)?;
    write_new(&path.join("ca.crt"), 0o644, &certificate)?;
    write_new(&path.join("policies.yaml"), 0o644, POLICIES)?;
    if transport == Transport::Tls {
        make_service_certificate(path, listen)?;
    }
    let text = settings(listen, transport);
    let config = Config::parse(&text, None, path).map_err(anyhow::Error::msg)?;
    let (clusters, _) = cluster::load_all(config.clusters)?;
    let store = Store::open(&config.store).await?;
    for cluster in clusters.values() {
        store.bind_to_authority(cluster.authority.spki_sha256()).await?;
    }
    store.close().await;
    // Last, because a folder with a configuration counts as complete.
    write_new(&path.join("countersign.toml"), 0o644, &text)
}

/// For this machine, by its address too, so that curl finds it without a name.
fn make_service_certificate(path: &Path, listen: SocketAddr) -> Result<()> {
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    if !listen.ip().is_unspecified() && !listen.ip().is_loopback() {
        names.push(listen.ip().to_string());
    }
    let made = throw_away::service(names, Clock::System.now())?;
    write_new(&path.join("tls.key"), 0o600, &made.key)?;
    write_new(&path.join("tls.crt"), 0o644, &made.certificate)?;
    write_new(&path.join("tls-ca.crt"), 0o644, &made.authority)
}

fn settings(listen: SocketAddr, transport: Transport) -> String {
    let (top, tls) = match transport {
        Transport::PlainOnLoopback => ("", ""),
        Transport::PlainAnywhere => ("insecure_http = true   # a TLS proxy stands in front\n", ""),
        Transport::Tls => ("", "[tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\n\n"),
    };
    format!(
        r#"# A throw-away CA for trying Countersign out. docs/configuration.md explains every key.
listen = "{listen}"
{top}database = "sqlite:countersign.db"
log_format = "text"

{tls}[[clusters]]
name = "quickstart"
server = "https://127.0.0.1:6443"
server_ca = "ca.crt"
client_ca = "ca.crt"
client_ca_key = "ca.key"
default_ttl = "8h"
max_ttl = "24h"
"#
    )
}

fn write_new(path: &Path, mode: u32, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

/// Writes beside and renames, so that a file that was good stays whole.
fn replace_private(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("new");
    if beside.exists() {
        fs::remove_file(&beside)?;
    }
    write_new(&beside, 0o600, text)?;
    fs::rename(&beside, path).with_context(|| path.display().to_string())
}

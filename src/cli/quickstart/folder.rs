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
        insecure_http: bool,
    ) -> Result<Self> {
        let settings = path.join("countersign.toml");
        if !settings.exists() {
            make(path, listen, insecure_http).await.with_context(|| path.display().to_string())?;
        }
        let mut config = Config::read(&settings)?;
        if let Some(listen) = listen {
            if !listen.ip().is_loopback() && !insecure_http {
                bail!("--listen {listen}: plain HTTP is for loopback only, unless --insecure-http");
            }
            config.listen = listen;
        }
        let folder = Self { path: path.to_owned(), config };
        folder.fill().await?;
        Ok(folder)
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

async fn make(path: &Path, listen: Option<SocketAddr>, insecure_http: bool) -> Result<()> {
    let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
    if !listen.ip().is_loopback() && !insecure_http {
        bail!("--listen {listen}: plain HTTP is for loopback only, unless --insecure-http");
    }
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
    let text = settings(listen, insecure_http);
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

fn settings(listen: SocketAddr, insecure_http: bool) -> String {
    let insecure = if insecure_http { "insecure_http = true   # a TLS proxy stands in front\n" } else { "" };
    format!(
        r#"# A throw-away CA for trying Countersign out. docs/configuration.md explains every key.
listen = "{listen}"
{insecure}database = "sqlite:countersign.db"
log_format = "text"

[[clusters]]
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

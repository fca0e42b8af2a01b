//! `countersign quickstart`: everything in one folder, the real service, and alice, who uses it.

mod alice;
mod folder;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio_util::sync::CancellationToken;

use crate::telemetry;

use super::serve::{self, Listeners};
use alice::Alice;
use folder::Folder;

/// How long the service may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
pub(super) struct Quickstart {
    /// The folder to make, or to use again
    #[arg(long, default_value = "countersign-quickstart")]
    dir: PathBuf,
    /// Where to listen; on loopback, unless --insecure-http
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Allow plain HTTP off loopback, for a TLS proxy or a container's network
    #[arg(long)]
    insecure_http: bool,
    /// Stop once alice has her certificate
    #[arg(long)]
    once: bool,
}

impl Quickstart {
    pub(super) async fn run(self) -> Result<()> {
        let folder = Folder::prepare(&self.dir, self.listen, self.insecure_http).await?;
        if self.once && folder.is_served().await? {
            println!("This folder is being served; its tokens are good for at least an hour.");
            return Ok(());
        }
        let _logging = telemetry::init(folder.config.log_format, "error")?;
        let listeners = Listeners::bind(&folder.config).await?;
        let url = url(listeners.api.local_addr()?);
        let shutdown = CancellationToken::new();
        serve::stop_on_signal(&shutdown)?;
        let config = folder.config.clone();
        let stop = shutdown.clone();
        let service = tokio::spawn(async move { serve::launch(&config, listeners, stop).await });
        let signed = tokio::task::spawn_blocking({
            let alice = Alice::new(&folder.path, &url);
            move || answers(&alice.url).and_then(|()| alice.sign())
        });
        let signed = match signed.await? {
            Ok(signed) => signed,
            Err(error) => {
                shutdown.cancel();
                service.await??;
                return Err(error);
            }
        };
        print!("{}", signed.report(&folder.path, &url));
        if self.once {
            println!(
                "\nStart the service again:\n  countersign --config {} serve",
                shell(&folder.path.join("countersign.toml"))
            );
            shutdown.cancel();
        } else {
            println!("\nServing on {url} until Ctrl-C.");
        }
        service.await?
    }
}

/// Where a client on this machine reaches a service that listens on `address`.
fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        return format!("http://127.0.0.1:{}", address.port());
    }
    format!("http://{address}")
}

/// Waits until the service takes connections.
fn answers(url: &str) -> Result<()> {
    let address: SocketAddr =
        url.trim_start_matches("http://").parse().context("the service's own address")?;
    let started = std::time::Instant::now();
    while started.elapsed() < PATIENCE {
        if std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("the service does not answer on {url}")
}

/// A path as a shell takes it.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_space_is_quoted_for_the_shell() {
        assert_eq!(shell(Path::new("a/b-1.key")), "a/b-1.key");
        assert_eq!(shell(Path::new("it's here")), r"'it'\''s here'");
    }
}

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
use folder::{Folder, Transport};

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
    /// Serve over TLS, with a certificate of a throw-away authority of its own
    #[arg(long, conflicts_with = "insecure_http")]
    tls: bool,
    /// Stop once alice has her certificate
    #[arg(long)]
    once: bool,
}

impl Quickstart {
    pub(super) async fn run(self) -> Result<()> {
        let folder = Folder::prepare(&self.dir, self.listen, self.transport()).await?;
        if self.once && folder.is_served().await? {
            println!("This folder is being served; its tokens are good for at least an hour.");
            return Ok(());
        }
        let _logging = telemetry::init(folder.config.log_format, "error")?;
        let listeners = Listeners::bind(&folder.config).await?;
        let url = url(listeners.api.local_addr()?, folder.config.tls.is_some());
        let shutdown = CancellationToken::new();
        serve::stop_on_signal(&shutdown)?;
        let (config, settings) = (folder.config.clone(), folder.settings());
        let stop = shutdown.clone();
        let service = tokio::spawn(async move { serve::launch(&config, &settings, listeners, stop).await });
        let signed = tokio::task::spawn_blocking({
            let alice = Alice::new(&folder.path, &url, folder.tls_authority());
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
        print!("{}", signed.report(&folder.path, &url, folder.tls_authority().as_deref()));
        if self.once {
            println!(
                "\nStart the service again:\n  countersign --config {} serve",
                shell(&folder.settings())
            );
            shutdown.cancel();
        } else {
            println!("\nServing on {url} until Ctrl-C.");
        }
        service.await?
    }

    fn transport(&self) -> Transport {
        match (self.tls, self.insecure_http) {
            (true, _) => Transport::Tls,
            (false, true) => Transport::PlainAnywhere,
            (false, false) => Transport::PlainOnLoopback,
        }
    }
}

/// Where a client on this machine reaches a service that listens on `address`.
fn url(address: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    if address.ip().is_unspecified() {
        return format!("{scheme}://127.0.0.1:{}", address.port());
    }
    format!("{scheme}://{address}")
}

/// Waits until the service takes connections.
fn answers(url: &str) -> Result<()> {
    let address: SocketAddr =
        url.split("://").last().unwrap_or_default().parse().context("the service's own address")?;
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

//! `countersign healthcheck`: what a container's health check runs, without curl.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::config::Config;

/// A service that takes longer is not healthy.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Healthcheck {
    /// Where the service is, as in `http://127.0.0.1:8080`; as in the configuration unless said
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

impl Healthcheck {
    pub(super) fn run(self, config: &Path) -> Result<()> {
        let address = match self.url {
            Some(url) => address(&url)?,
            None => reachable(Config::read(config)?.listen),
        };
        let answer = ask(address).with_context(|| format!("http://{address}/readyz"))?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        if status != "200" {
            bail!("http://{address}/readyz answers {status}: {}", answer.lines().last().unwrap_or_default());
        }
        Ok(())
    }
}

fn address(url: &str) -> Result<SocketAddr> {
    let host = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let host = host.context("--url is written as http://HOST:PORT")?;
    let mut addresses = host.to_socket_addrs().with_context(|| url.to_owned())?;
    addresses.next().with_context(|| format!("{host} has no address"))
}

fn ask(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    Ok(answer)
}

/// A service that listens everywhere is reached on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

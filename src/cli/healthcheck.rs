//! `countersign healthcheck`: what a container's health check runs, without curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::https;
use crate::config::Config;

/// A service that takes longer is not healthy.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Healthcheck {
    /// Where the service is, as in `https://countersign.example` or `http://127.0.0.1:8080`; as in the
    /// configuration unless said
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Trust the authorities in this PEM file, and not those that browsers trust; for --url https://
    #[arg(long, value_name = "FILE", requires = "url")]
    ca_file: Option<PathBuf>,
}

/// Whom to ask, and how.
struct Target {
    /// For people.
    url: String,
    /// `HOST:PORT`.
    authority: String,
    address: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Healthcheck {
    pub(super) fn run(self, config: &Path) -> Result<()> {
        let target = match self.url {
            Some(url) => Target::of_url(&url, self.ca_file.as_deref())?,
            None => Target::of_configuration(&Config::read(config)?)?,
        };
        let url = &target.url;
        let answer = target.ask().with_context(|| format!("{url}/readyz"))?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        if status != "200" {
            bail!("{url}/readyz answers {status}: {}", answer.lines().last().unwrap_or_default());
        }
        Ok(())
    }
}

impl Target {
    fn of_url(url: &str, ca_file: Option<&Path>) -> Result<Self> {
        let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => bail!("--url is written as https://HOST or http://HOST:PORT"),
        };
        let rest = rest.trim_end_matches('/');
        let (host, has_port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, true),
            _ => (rest, false),
        };
        let authority = match (has_port, tls) {
            (true, _) => rest.to_owned(),
            (false, true) => format!("{rest}:443"),
            (false, false) => format!("{rest}:80"),
        };
        let address = authority.to_socket_addrs().with_context(|| url.to_owned())?.next();
        let address = address.with_context(|| format!("{host} has no address"))?;
        let tls = if tls {
            let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
            Some((https::trusting(ca_file)?, name))
        } else {
            None
        };
        Ok(Self { url: url.trim_end_matches('/').to_owned(), authority, address, tls })
    }

    /// The service of a configuration is the one that has its address: its certificate is for the name
    /// that clients use, which is another.
    fn of_configuration(config: &Config) -> Result<Self> {
        let address = reachable(config.listen);
        let tls = match &config.tls {
            None => None,
            Some(_) => Some((https::trusting_anybody()?, ServerName::IpAddress(address.ip().into()))),
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        Ok(Self { url: format!("{scheme}://{address}"), authority: address.to_string(), address, tls })
    }

    fn ask(&self) -> Result<String> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        match &self.tls {
            None => self.exchange(stream),
            Some((configuration, name)) => {
                let connection = ClientConnection::new(Arc::clone(configuration), name.clone())?;
                self.exchange(StreamOwned::new(connection, stream))
            }
        }
    }

    fn exchange(&self, mut stream: impl Read + Write) -> Result<String> {
        let authority = &self.authority;
        stream.write_all(
            format!("GET /readyz HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut answer = String::new();
        stream.take(64 * 1024).read_to_string(&mut answer)?;
        Ok(answer)
    }
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

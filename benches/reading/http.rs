//! One kept-alive connection to the service.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The connection, and what it says about itself.
pub struct Client {
    stream: BufReader<TcpStream>,
    token: String,
}

impl Client {
    pub fn connect(address: SocketAddr, token: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_mins(2)))?;
        Ok(Self { stream: BufReader::new(stream), token: token.to_owned() })
    }

    /// The body of an answer, and how long it took to the last octet.
    pub fn get(&mut self, target: &str) -> Result<(Vec<u8>, Duration)> {
        let began = Instant::now();
        let length = self.ask(target)?.with_context(|| format!("{target}: no length"))?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((body, began.elapsed()))
    }

    /// Takes a stream to its end; `seen` gets each stretch of it.
    pub fn stream(&mut self, target: &str, mut seen: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        ensure!(self.ask(target)?.is_none(), "{target}: a length");
        loop {
            let mut head = String::new();
            self.stream.read_line(&mut head)?;
            let length =
                usize::from_str_radix(head.trim(), 16).with_context(|| format!("{target} broke off"))?;
            let mut chunk = vec![0; length + 2];
            self.stream.read_exact(&mut chunk)?;
            if length == 0 {
                return Ok(());
            }
            chunk.truncate(length);
            seen(&chunk)?;
        }
    }

    /// Reads the head of the answer; its length, where it has one.
    fn ask(&mut self, target: &str) -> Result<Option<usize>> {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\r\n", self.token);
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut head = String::new();
        self.stream.read_line(&mut head)?;
        let good = head.starts_with("HTTP/1.1 200 ");
        let mut length = None;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            if let Some((name, value)) = line.trim().split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.parse()?);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        if !good {
            let mut body = vec![0; length.unwrap_or(0)];
            self.stream.read_exact(&mut body)?;
            anyhow::bail!("{target}: {}: {}", head.trim(), String::from_utf8_lossy(&body));
        }
        Ok(length)
    }
}

/// `/v1/things?name=value&...`.
pub fn target<'p>(path: &str, pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> String {
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
        .collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

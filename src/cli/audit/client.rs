//! A small HTTP/1.1 client for `--server`: one request for each connection, nothing followed.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;

use crate::ca::secret_file;
use crate::cli::https;

/// A service that sends nothing for so long is given up.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a service that is busy is asked, all in all: exports of others end.
const TRIES: u32 = 12;
/// The longest pause between two tries, in seconds, whatever the service says.
const LONGEST_PAUSE: u64 = 10;
/// The longest head of an answer, in octets.
const LONGEST_HEAD: u64 = 64 * 1_024;
/// The longest line of a body, in octets: a refusal with a hundred violations is far below.
const LONGEST_LINE: u64 = 4 * 1_024 * 1_024;
/// The longest body that is read as a whole, in octets.
const LONGEST_BODY: u64 = 64 * 1_024 * 1_024;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A running service and the token for it.
pub(super) struct Client {
    host: String,
    port: u16,
    base: String,
    token: String,
    tls: Option<Arc<ClientConfig>>,
}

impl Client {
    /// For `http://HOST:PORT` or `https://HOST`, with the token in a file.
    pub(super) fn new(server: &str, token_file: &Path, ca_file: Option<&Path>) -> Result<Self> {
        let (tls, rest) = match (server.strip_prefix("https://"), server.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => bail!("--server is written as https://HOST or http://HOST:PORT"),
        };
        let (authority, base) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().with_context(|| format!("--server: `{port}` is no port"))?)
            }
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let base = base.trim_end_matches('/');
        Ok(Self {
            host: host.to_owned(),
            port,
            base: if base.is_empty() { String::new() } else { format!("/{base}") },
            token: token(token_file)?,
            tls: tls.then(|| https::trusting(ca_file)).transpose()?,
        })
    }

    /// A whole answer in JSON.
    pub(super) fn json(&self, path: &str) -> Result<Value> {
        let mut text = String::new();
        self.get(path)?.take(LONGEST_BODY).read_to_string(&mut text)?;
        serde_json::from_str(&text).context("the answer is no JSON")
    }

    /// Each line of NDJSON but the last, which must say how many there were.
    pub(super) fn rows(&self, path: &str, take: &mut super::source::Take<'_>) -> Result<()> {
        let mut body = BufReader::new(self.get(path)?);
        let (mut line, mut count) = (String::new(), 0_u64);
        loop {
            line.clear();
            let read = (&mut body).take(LONGEST_LINE).read_line(&mut line);
            read.with_context(|| cut(count))?;
            let Some(row) = line.strip_suffix('\n') else { bail!(cut(count)) };
            if row.starts_with("{\"end\":true") {
                let end: Value = serde_json::from_str(row)?;
                let said = end.get("count").and_then(Value::as_u64);
                return if said == Some(count) { Ok(()) } else { bail!(cut(count)) };
            }
            take(row)?;
            count = count.saturating_add(1);
        }
    }

    /// The body of a 200. Who is told to come back does.
    fn get(&self, path: &str) -> Result<Box<dyn Read + Send>> {
        let mut tries = 1;
        loop {
            let refused = match self.ask(path)? {
                Answer::Body(body) => return Ok(body),
                Answer::Refused(refused) => refused,
            };
            match refused.pause.filter(|_| tries < TRIES) {
                Some(pause) => std::thread::sleep(pause),
                None => bail!("the service answers {}: {}", refused.status, refused.detail),
            }
            tries = tries.saturating_add(1);
        }
    }

    fn ask(&self, path: &str) -> Result<Answer> {
        let mut stream = self.connect().with_context(|| format!("{}:{}", self.host, self.port))?;
        let mut request = String::new();
        // Writing into a String does not fail.
        let _ = write!(
            request,
            "GET {}{path} HTTP/1.1\r\nHost: {}:{}\r\nAuthorization: Bearer {}\r\nAccept: */*\r\n\
             User-Agent: countersign/{}\r\nConnection: close\r\n\r\n",
            self.base,
            self.host,
            self.port,
            self.token,
            env!("CARGO_PKG_VERSION")
        );
        stream.write_all(request.as_bytes())?;
        answer(BufReader::new(stream))
    }

    fn connect(&self) -> Result<Box<dyn Stream>> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut last = None;
        for address in (host, self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(PATIENCE))?;
                    stream.set_write_timeout(Some(PATIENCE))?;
                    return self.protected(stream, host);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| anyhow::anyhow!("the name has no address"), Into::into))
    }

    fn protected(&self, stream: TcpStream, host: &str) -> Result<Box<dyn Stream>> {
        let Some(configuration) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(host.to_owned()).context("the host cannot stand in a certificate")?;
        let connection = ClientConnection::new(Arc::clone(configuration), name)?;
        Ok(Box::new(StreamOwned::new(connection, stream)))
    }
}

fn cut(count: u64) -> String {
    format!("the answer was cut after {count} rows: what was printed is not all")
}

/// A token alone, or the line `Authorization: Bearer TOKEN`.
fn token(file: &Path) -> Result<String> {
    let octets = secret_file::read(file).with_context(|| file.display().to_string())?;
    let text = std::str::from_utf8(&octets).with_context(|| file.display().to_string())?;
    let token = text.trim().rsplit(' ').next().unwrap_or_default();
    if token.is_empty() || !token.bytes().all(|octet| octet.is_ascii_graphic()) {
        bail!("{} holds no token", file.display());
    }
    Ok(token.to_owned())
}

/// What came back.
enum Answer {
    /// Of a 200.
    Body(Box<dyn Read + Send>),
    Refused(Refused),
}

/// Anything but a 200, with the problem's sentence.
struct Refused {
    status: String,
    detail: String,
    /// How long to wait before asking again, where that helps.
    pause: Option<Duration>,
}

fn answer(mut stream: BufReader<Box<dyn Stream>>) -> Result<Answer> {
    let mut head = (&mut stream).take(LONGEST_HEAD);
    let (mut line, mut lines) = (String::new(), Vec::new());
    while head.read_line(&mut line)? > 0 && !line.trim_end().is_empty() {
        lines.push(std::mem::take(&mut line));
    }
    let status = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or("nothing").to_owned();
    let field = |name: &str| {
        lines.iter().filter_map(|line| line.split_once(':')).find_map(|(found, value)| {
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
        })
    };
    let chunked = field("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let length = field("content-length").and_then(|length| length.parse().ok());
    let mut body: Box<dyn Read + Send> = match length {
        _ if chunked => Box::new(Chunked { stream, left: 0, begun: false, done: false }),
        Some(length) => Box::new(Exactly { stream, left: length }),
        None => Box::new(stream),
    };
    if status == "200" {
        return Ok(Answer::Body(body));
    }
    let seconds = field("retry-after").filter(|_| status == "503").and_then(|seconds| seconds.parse().ok());
    let mut text = String::new();
    let _ = body.by_ref().take(LONGEST_HEAD).read_to_string(&mut text);
    let problem: Value = serde_json::from_str(&text).unwrap_or_default();
    let detail = problem.get("detail").and_then(Value::as_str).unwrap_or("no reason was given").to_owned();
    let pause = seconds.map(|seconds: u64| Duration::from_secs(seconds.min(LONGEST_PAUSE)));
    Ok(Answer::Refused(Refused { status, detail, pause }))
}

/// A body of a known length; one that ends early is an error.
struct Exactly {
    stream: BufReader<Box<dyn Stream>>,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = (&mut self.stream).take(self.left).read(into)?;
        if read == 0 && self.left > 0 && !into.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}

/// RFC 9112, section 7.1. A body without its last chunk is an error.
struct Chunked {
    stream: BufReader<Box<dyn Stream>>,
    left: u64,
    begun: bool,
    done: bool,
}

impl Chunked {
    fn next_chunk(&mut self) -> std::io::Result<()> {
        let wrong = || std::io::Error::new(std::io::ErrorKind::InvalidData, "a chunk has no length");
        let mut line = String::new();
        if self.begun {
            (&mut self.stream).take(2).read_line(&mut line)?;
            line.clear();
        }
        self.begun = true;
        if (&mut self.stream).take(1_024).read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let digits = line.split(';').next().unwrap_or_default().trim();
        self.left = u64::from_str_radix(digits, 16).map_err(|_| wrong())?;
        self.done = self.left == 0;
        Ok(())
    }
}

impl Read for Chunked {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 && !self.done {
            self.next_chunk()?;
        }
        if self.done || into.is_empty() {
            return Ok(0);
        }
        let read = (&mut self.stream).take(self.left).read(into)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::io::Cursor;
    use std::os::unix::fs::PermissionsExt as _;

    fn body(answer: &str) -> Result<String> {
        let stream: Box<dyn Stream> = Box::new(Cursor::new(answer.as_bytes().to_vec()));
        let mut text = String::new();
        match super::answer(BufReader::new(stream))? {
            Answer::Body(mut body) => body.read_to_string(&mut text)?,
            Answer::Refused(refused) => bail!("{}: {}", refused.status, refused.detail),
        };
        Ok(text)
    }

    /// A service on loopback that gives one of these answers to each connection, and a client for it.
    fn serving(answers: &'static [&'static str]) -> (Client, std::thread::JoinHandle<()>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (host, port) = ("127.0.0.1".to_owned(), listener.local_addr().unwrap().port());
        let served = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                lines.map(Result::unwrap).take_while(|line| !line.is_empty()).for_each(drop);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (Client { host, port, base: String::new(), token: "cs1_x".to_owned(), tls: None }, served)
    }

    #[test]
    fn a_service_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
        const BUSY: &str = "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
        const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        const BAD: &str =
            "HTTP/1.1 403 No\r\nRetry-After: 0\r\nContent-Length: 22\r\n\r\n{\"detail\":\"not yours\"}";
        let (client, served) = serving(&[BUSY, BUSY, GOOD, BAD]);
        assert_eq!(client.json("/").unwrap(), serde_json::json!({}));
        assert_eq!(client.json("/").unwrap_err().to_string(), "the service answers 403: not yours");
        served.join().unwrap();
    }

    #[test]
    fn a_body_is_read_by_chunks_or_by_length() {
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        assert_eq!(body(chunked).unwrap(), "abcde");
        assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcde").unwrap(), "abc");
    }

    #[test]
    fn a_body_that_was_cut_is_an_error() {
        for answer in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
        ] {
            assert!(body(answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn a_problem_is_told_in_its_own_words() {
        let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 22\r\n\r\n{\"detail\":\"not yours\"}";
        assert_eq!(body(answer).unwrap_err().to_string(), "403: not yours");
    }

    #[test]
    fn a_token_stands_alone_or_in_curls_header() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        for text in ["cs1_abc", "cs1_abc\n", "Authorization: Bearer cs1_abc\n"] {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            assert_eq!(token(&file).unwrap(), "cs1_abc");
        }
        std::fs::write(&file, "\n").unwrap();
        assert!(token(&file).is_err());
        std::fs::write(&file, "cs1_abc").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        assert!(format!("{:#}", token(&file).unwrap_err()).contains("chmod 600"));
    }
}

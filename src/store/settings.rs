//! Where the ledger is: a file of SQLite, or a database of PostgreSQL.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::ca::secret_file;

/// Where the ledger is. The scheme of its URL says which engine keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreSettings {
    /// A file; made if it is not there. A relative path is one of the process's own folder: the
    /// configuration resolves its own before it gets here.
    Sqlite(PathBuf),
    /// A database that several replicas may share.
    Postgres(Box<PostgresSettings>),
}

/// A database of PostgreSQL. Neither `Debug` nor `Display` shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) ssl_mode: SslMode,
    pub(super) ssl_root_certificate: Option<PathBuf>,
    pub(super) password: Option<String>,
    pub(super) password_file: Option<PathBuf>,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Name(String),
    /// The folder of its Unix socket.
    Socket(PathBuf),
}

/// How the connection is protected, in libpq's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl StoreSettings {
    /// Reads `sqlite:FILE` or `postgres://USER@HOST:PORT/NAME?sslmode=verify-full`, with the file
    /// that holds the password. Relative paths are resolved from `folder`.
    ///
    /// # Errors
    /// One sentence that says what is wrong. It never repeats the URL, which may hold a password.
    pub fn parse(url: &str, password_file: Option<&Path>, folder: &Path) -> Result<Self, String> {
        if let Some(file) = url.strip_prefix("sqlite:").filter(|file| !file.is_empty()) {
            if password_file.is_some() {
                return Err("a file of SQLite has no password: leave the password file out".to_owned());
            }
            return Ok(Self::Sqlite(folder.join(file)));
        }
        let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        let Some(rest) = rest else {
            return Err("is written as \"sqlite:countersign.db\", with the path of a file, or as \
                        \"postgres://user@host:5432/name?sslmode=verify-full\""
                .to_owned());
        };
        let mut settings = read(rest)?;
        settings.ssl_root_certificate = settings.ssl_root_certificate.map(|path| folder.join(path));
        settings.password_file = password_file.map(|path| folder.join(path));
        settings.check()?;
        Ok(Self::Postgres(Box::new(settings)))
    }
}

impl StoreSettings {
    /// That the files which these settings name can be read, without a look at the database.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn check(&self) -> Result<(), String> {
        let Self::Postgres(settings) = self else { return Ok(()) };
        settings.password()?;
        let Some(root) = &settings.ssl_root_certificate else { return Ok(()) };
        std::fs::read(root).map(drop).map_err(|error| format!("{}: {error}", secret_file::shown(root)))
    }
}

impl PostgresSettings {
    /// The password of the file or of the configuration; none where the server asks for none.
    pub(super) fn password(&self) -> Result<Zeroizing<String>, String> {
        let Some(file) = &self.password_file else {
            return Ok(Zeroizing::new(self.password.clone().unwrap_or_default()));
        };
        let wrong = |why: String| format!("{}: {why}", secret_file::shown(file));
        let octets = secret_file::read(file).map_err(|problem| wrong(problem.to_string()))?;
        let text = std::str::from_utf8(&octets).map_err(|_| wrong("the password is not UTF-8".to_owned()))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(wrong("it is empty: write the database's password into it".to_owned()));
        }
        Ok(Zeroizing::new(text.to_owned()))
    }

    fn check(&self) -> Result<(), String> {
        if self.password.is_some() && self.password_file.is_some() {
            return Err("a password is in the URL and in a file: keep one of them".to_owned());
        }
        if !self.is_local() && self.ssl_mode != SslMode::VerifyFull {
            return Err("off loopback and a socket only sslmode=verify-full is taken, because anybody on the way \
                        could read and change the ledger: add ?sslmode=verify-full, and &sslrootcert=FILE for a CA of \
                        your own"
                .to_owned());
        }
        Ok(())
    }

    /// Whether what is sent stays on this machine.
    fn is_local(&self) -> bool {
        match &self.host {
            Host::Socket(_) => true,
            Host::Name(name) => {
                let bare = name.trim_start_matches('[').trim_end_matches(']');
                name == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl fmt::Display for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "{}", file.display()),
            Self::Postgres(settings) => settings.fmt(f),
        }
    }
}

impl fmt::Display for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, user, database, .. } = self;
        match host {
            Host::Name(name) => write!(f, "postgres://{user}@{name}:{port}/{database}"),
            Host::Socket(folder) => {
                write!(f, "postgres://{user}@/{database}?host={}&port={port}", folder.display())
            }
        }
    }
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresSettings({self})")
    }
}

impl SslMode {
    const ALL: [Self; 5] = [Self::Disable, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// What follows `postgres://`. Read here and not by the driver, which takes what it does not know
/// for nothing.
fn read(rest: &str) -> Result<PostgresSettings, String> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) =
        login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
    let mut query = parameters(query)?;
    let socket = query.remove("host").map(PathBuf::from);
    let (host, port) = address_of(address, socket, query.remove("port"))?;
    let settings = PostgresSettings {
        host,
        port,
        user: needed(user, "the user")?,
        database: needed(database, "the name of the database")?,
        ssl_mode: ssl_mode(query.remove("sslmode").as_deref())?,
        ssl_root_certificate: query.remove("sslrootcert").map(PathBuf::from),
        password: password.map(decoded).transpose()?.filter(|password| !password.is_empty()),
        password_file: None,
    };
    match query.keys().next() {
        None => Ok(settings),
        Some(key) => Err(format!(
            "the parameter `{}` is not known: sslmode, sslrootcert, host and port are",
            key.escape_debug()
        )),
    }
}

fn parameters(query: &str) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if found.insert(decoded(key)?, decoded(value)?).is_some() {
            return Err(format!("the parameter `{}` stands twice", key.escape_debug()));
        }
    }
    Ok(found)
}

/// `HOST:PORT`, or the folder of a socket: `%2Frun%2Fpostgresql`, or the parameter `host`.
fn address_of(
    address: &str,
    socket: Option<PathBuf>,
    port_of_query: Option<String>,
) -> Result<(Host, u16), String> {
    let (name, port) = match address.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port.to_owned())),
        _ => (address, None),
    };
    let port = match port.or(port_of_query).as_deref() {
        None | Some("") => 5432,
        Some(port) => port.parse().map_err(|_| "the port is no number from 1 to 65535".to_owned())?,
    };
    let name = decoded(name)?;
    let host = match socket {
        Some(folder) if name.is_empty() && folder.is_absolute() => Host::Socket(folder),
        Some(_) => {
            return Err("the parameter `host` names the folder of a socket, and then no other host is named"
                .to_owned());
        }
        None if name.starts_with('/') => Host::Socket(PathBuf::from(name)),
        None => Host::Name(needed(&name, "the host")?),
    };
    Ok((host, port))
}

fn ssl_mode(written: Option<&str>) -> Result<SslMode, String> {
    let Some(written) = written else { return Ok(SslMode::Prefer) };
    SslMode::ALL
        .into_iter()
        .find(|mode| mode.as_str() == written)
        .ok_or_else(|| "sslmode is one of disable, prefer, require, verify-ca and verify-full".to_owned())
}

fn needed(text: &str, what: &str) -> Result<String, String> {
    let text = decoded(text)?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(format!("{what} is missing: postgres://user@host:5432/name?sslmode=verify-full"));
    }
    Ok(text)
}

fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| "the URL is not UTF-8".to_owned())?;
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<StoreSettings, String> {
        StoreSettings::parse(url, None, Path::new("/etc/countersign"))
    }

    fn postgres(url: &str) -> PostgresSettings {
        match parse(url) {
            Ok(StoreSettings::Postgres(settings)) => *settings,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn every_part_of_a_url_is_read() {
        let settings = postgres(
            "postgres://us%40er:p%2Fw@db.example:6432/led%20ger?sslmode=verify-full&sslrootcert=ca.crt",
        );
        assert_eq!(settings.host, Host::Name("db.example".to_owned()));
        assert_eq!((settings.port, settings.user.as_str()), (6432, "us@er"));
        assert_eq!(settings.database, "led ger");
        assert_eq!(settings.password.as_deref(), Some("p/w"));
        assert_eq!(settings.ssl_mode, SslMode::VerifyFull);
        assert_eq!(settings.ssl_root_certificate.as_deref(), Some(Path::new("/etc/countersign/ca.crt")));
    }

    #[test]
    fn a_socket_is_named_in_both_of_libpqs_ways() {
        for url in ["postgres://me@%2Frun%2Fpostgresql/x", "postgresql://me@/x?host=/run/postgresql"] {
            let settings = postgres(url);
            assert_eq!(settings.host, Host::Socket("/run/postgresql".into()), "{url}");
            assert_eq!(settings.port, 5432);
        }
    }

    #[test]
    fn off_loopback_only_a_verified_server_is_taken() {
        for host in ["db.example", "10.0.0.1", "0.0.0.0", "[2001:db8::1]", "localhost.example"] {
            for mode in ["", "?sslmode=disable", "?sslmode=prefer", "?sslmode=require", "?sslmode=verify-ca"]
            {
                let refused = parse(&format!("postgres://me@{host}/x{mode}")).unwrap_err();
                assert!(refused.contains("sslmode=verify-full"), "{host}{mode}: {refused}");
            }
            postgres(&format!("postgres://me@{host}/x?sslmode=verify-full"));
        }
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "%2Frun%2Fpostgresql"] {
            postgres(&format!("postgres://me@{host}/x"));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_without_repeating_the_password() {
        for url in [
            "mysql://me:hunter2@localhost/x",
            "postgres://me:hunter2@localhost",
            "postgres://:hunter2@localhost/x",
            "postgres://me:hunter2@/x",
            "postgres://me:hunter2@localhost:port/x",
            "postgres://me:hunter2@localhost/x?sslmode=maybe",
            "postgres://me:hunter2@localhost/x?ssl_mode=disable",
            "postgres://me:hunter2@localhost/x?options=-c%20fsync=off",
            "postgres://me:hunter2@localhost/x?sslmode=disable&sslmode=disable",
            "postgres://me:hunter2@localhost/x?host=/run/postgresql",
            "postgres://me:hunter2@localhost/x%ff",
            "postgres://me:hunter2@db.example/x",
        ] {
            let refused = parse(url).unwrap_err();
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        let twice = StoreSettings::parse(
            "postgres://me:hunter2@localhost/x",
            Some(Path::new("password")),
            Path::new("/"),
        );
        assert!(twice.unwrap_err().contains("keep one"));
    }

    #[test]
    fn a_password_is_never_shown() {
        let settings = parse("postgres://me:hunter2@localhost/x").unwrap();
        let shown = format!("{settings:?} {settings}");
        assert!(shown.contains("postgres://me@localhost:5432/x") && !shown.contains("hunter2"), "{shown}");
    }
}

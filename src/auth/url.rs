//! The URLs that are ever fetched: https, plain, and from the configuration or a discovery document.

use std::fmt;

/// `https://HOST[:PORT][/PATH]` without user, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsUrl {
    /// The name or address of the server; an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// With the leading slash; empty where there is none.
    pub path: String,
    text: String,
}

impl HttpsUrl {
    /// Reads the text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("https://").ok_or("it is an https:// URL")?;
        if text.len() > 1_024
            || !rest.bytes().all(|octet| octet.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&octet))
        {
            return Err("it has a character that a URL does not have, or over 1024".to_owned());
        }
        if rest.contains(['@', '?', '#']) {
            return Err("it has no user, query or fragment".to_owned());
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if path.split('/').any(|part| part == "." || part == "..") {
            return Err("its path has no . and no ..".to_owned());
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(address) => {
                let (address, port) = address.split_once(']').ok_or("its address has no end")?;
                (
                    address,
                    port.strip_prefix(':')
                        .or_else(|| port.is_empty().then_some("443"))
                        .ok_or("its port is wrong")?,
                )
            }
            None => authority.split_once(':').unwrap_or((authority, "443")),
        };
        let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or("its port is wrong")?;
        if host.is_empty() {
            return Err("it has no host".to_owned());
        }
        Ok(Self { host: host.to_owned(), port, path: path.to_owned(), text: text.to_owned() })
    }

    /// The same with `more` behind its path.
    ///
    /// # Errors
    /// As for [`HttpsUrl::parse`].
    pub fn join(&self, more: &str) -> Result<Self, String> {
        Self::parse(&format!("{}{more}", self.text.trim_end_matches('/')))
    }

    /// What stands in `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 443 { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_https_url_is_read() {
        let url = HttpsUrl::parse("https://idp.example:8443/realms/corp").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("idp.example", 8443, "/realms/corp"));
        assert_eq!(url.authority(), "idp.example:8443");
        assert_eq!(HttpsUrl::parse("https://idp.example").unwrap().authority(), "idp.example");
        let url = HttpsUrl::parse("https://[::1]:1/").unwrap();
        assert_eq!((url.host.as_str(), url.authority().as_str()), ("::1", "[::1]:1"));
        let joined = HttpsUrl::parse("https://a/b/").unwrap().join("/.well-known/x").unwrap();
        assert_eq!(joined.to_string(), "https://a/b/.well-known/x");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "idp.example",
            "http://idp.example",
            "HTTPS://idp.example",
            "file:///etc/passwd",
            "https://",
            "https:///path",
            "https://user@idp.example",
            "https://idp.example?x",
            "https://idp.example#x",
            "https://idp.example:0",
            "https://idp.example:x",
            "https://idp.example:70000",
            "https://a b",
            "https://a\r\nHost: b",
            "https://a/../b",
            "https://[::1",
            "https://[::1]x",
            "https://é.example",
        ] {
            assert!(HttpsUrl::parse(text).is_err(), "{text}");
        }
    }
}

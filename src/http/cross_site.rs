//! Requests that a browser makes for another site, with credentials that it adds by itself.
//!
//! A page cannot give a browser somebody's `Authorization`. The browser's client certificate and the
//! session of a proxy that signs people in go with every request to this service, whatever page made
//! it: a form of another site could sign, approve or change policies in the name of whoever looks at
//! it. Browsers say where a request comes from; what is no browser says nothing of it.

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::app::AppError;
use crate::auth::Credential;

/// How the page that makes a request is related to this service (Fetch Metadata Request Headers,
/// section 2.4). No page can set it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets through what no page of another site made, and what such a page could not make: reading, whose
/// answer it does not get to see, and credentials that a browser does not add by itself.
///
/// # Errors
/// [`AppError::CrossSite`].
pub fn refuse(request: &Request, credential: &Credential) -> Result<(), AppError> {
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    if reads || !credential.is_ambient() || is_own(request.headers(), request.uri()) {
        return Ok(());
    }
    Err(AppError::CrossSite)
}

/// Whether a page of this service's own origin made the request, or none at all.
fn is_own(headers: &HeaderMap, uri: &Uri) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter().peekable();
    if sites.peek().is_some() {
        return sites.all(|site| site == "same-origin" || site == "none");
    }
    // Older browsers, and those that speak plain HTTP, tell the origin alone.
    headers.get_all(ORIGIN).iter().all(|origin| is_of_host(origin, headers, uri))
}

/// Whether `origin` is the address that the request was sent to. A request's own URI goes before its
/// `Host` (RFC 9112 section 3.2.2).
fn is_of_host(origin: &HeaderValue, headers: &HeaderMap, uri: &Uri) -> bool {
    let Some((scheme, origin)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else {
        return false;
    };
    let named = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(Authority::as_str).or(named);
    host.is_some_and(|host| {
        without_default(host, scheme).eq_ignore_ascii_case(without_default(origin, scheme))
    })
}

/// `host:port` without the port that goes without saying. A browser leaves it out, others may not.
fn without_default<'h>(host: &'h str, scheme: &str) -> &'h str {
    let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    host.strip_suffix(port).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(uri: &str, lines: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        is_own(&headers, &uri.parse().unwrap())
    }

    const HERE: (&str, &str) = ("host", "sign.example:8443");

    #[test]
    fn what_no_browser_sent_is_own() {
        assert!(own("/v1/sign", &[]));
        assert!(own("/v1/sign", &[HERE]));
    }

    #[test]
    fn a_site_counts_before_an_origin() {
        for (site, expected) in [("same-origin", true), ("none", true), ("same-site", false)] {
            assert_eq!(own("/", &[HERE, ("sec-fetch-site", site)]), expected, "{site}");
        }
        for wrong in ["cross-site", "", "Same-Origin", "same-origin, none"] {
            assert!(!own("/", &[HERE, ("sec-fetch-site", wrong)]), "{wrong}");
        }
        let evil = ("origin", "https://evil.example");
        assert!(own("/", &[HERE, ("sec-fetch-site", "same-origin"), evil]));
        let mine = ("origin", "https://sign.example:8443");
        assert!(!own("/", &[HERE, ("sec-fetch-site", "cross-site"), mine]));
        assert!(!own("/", &[HERE, ("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn an_origin_is_own_where_it_is_the_host_of_the_request() {
        for (host, origin, expected) in [
            ("sign.example:8443", "https://sign.example:8443", true),
            ("Sign.Example", "https://sign.example", true),
            ("sign.example:443", "https://sign.example", true),
            ("sign.example:80", "http://sign.example", true),
            ("[::1]:8443", "https://[::1]:8443", true),
            ("sign.example:443", "http://sign.example", false),
            ("sign.example", "https://sign.example:8443", false),
            ("sign.example:8443", "https://evil.example", false),
            ("sign.example:8443", "https://sign.example", false),
            ("sign.example", "https://sign.example.evil.example", false),
            ("sign.example", "https://evil.example/sign.example", false),
            ("sign.example", "sign.example", false),
            ("sign.example", "null", false),
            ("sign.example", "", false),
        ] {
            assert_eq!(own("/", &[("host", host), ("origin", origin)]), expected, "{host} {origin}");
        }
        assert!(!own("/", &[("origin", "https://sign.example")]), "to no host");
        let both = [HERE, ("origin", "https://sign.example:8443"), ("origin", "https://evil.example")];
        assert!(!own("/", &both));
        let absolute = "https://sign.example:8443/v1/sign";
        assert!(own(absolute, &[("host", "x"), ("origin", "https://sign.example:8443")]));
        assert!(!own(absolute, &[("host", "evil.example"), ("origin", "https://evil.example")]));
    }
}

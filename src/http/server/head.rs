//! What hyper lets pass in the head of a request, although a proxy in front could read it otherwise.

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Request, Response, Version};

use crate::http::error::Problem;
use crate::http::exchange::new_request_id;

/// What is wrong with the head, in words for the client.
pub(super) fn fault<B>(request: &Request<B>) -> Option<&'static str> {
    host_fault(request.version(), request.headers()).or_else(|| encoding_fault(request.headers()))
}

/// The answer to such a request. What follows on the connection cannot be told apart from a body.
pub(super) fn refusal(detail: &'static str) -> Response<Body> {
    let problem = Problem::new("bad_request", detail);
    let mut response = Response::new(Body::from(problem.body(new_request_id())));
    *response.status_mut() = problem.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// RFC 9112, section 3.2.
fn host_fault(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    match headers.get_all(HOST).iter().count() {
        0 if version == Version::HTTP_11 => Some("the Host header is missing: HTTP/1.1 asks for it"),
        0 | 1 => None,
        _ => Some("the Host header is given twice: give it once"),
    }
}

/// RFC 9112, section 6.1: of the codings only `chunked` is understood here.
fn encoding_fault(headers: &HeaderMap) -> Option<&'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    let understood = codings.next().is_none_or(chunked) && codings.next().is_none();
    (!understood).then_some("Transfer-Encoding is chunked, and nothing else: send the body as it is")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sound(headers: &[(&str, &str)], version: Version) -> bool {
        let mut request = Request::builder().version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        fault(&request.body(()).unwrap()).is_none()
    }

    #[test]
    fn a_request_names_one_host() {
        for (headers, version, sound) in [
            (&[("host", "a")][..], Version::HTTP_11, true),
            (&[], Version::HTTP_11, false),
            (&[], Version::HTTP_10, true),
            (&[("host", "a"), ("host", "a")], Version::HTTP_11, false),
            (&[("host", "a"), ("host", "b")], Version::HTTP_10, false),
        ] {
            assert_eq!(is_sound(headers, version), sound, "{headers:?}");
        }
    }

    #[test]
    fn a_body_is_chunked_or_plain() {
        for (codings, sound) in [
            (&["chunked"][..], true),
            (&["Chunked"], true),
            (&["gzip, chunked"], false),
            (&["chunked", "chunked"], false),
            (&["xchunked"], false),
            (&["identity"], false),
            (&[""], false),
        ] {
            let mut headers = vec![("host", "a")];
            headers.extend(codings.iter().map(|coding| ("transfer-encoding", *coding)));
            assert_eq!(is_sound(&headers, Version::HTTP_11), sound, "{codings:?}");
        }
    }

    #[test]
    fn the_answer_is_a_problem_and_the_last_of_its_connection() {
        let response = refusal("why");
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[CONNECTION], "close");
    }
}

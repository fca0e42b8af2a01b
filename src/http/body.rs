//! Reads a body: bounded in size and in time, and never before the caller is known.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::request::Parts;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::error::Problem;
use super::server::{BodyTime, Limits};

/// The most that `POST /v1/sign` takes, in bytes.
pub const SIGN_LIMIT: usize = 64 * 1_024;
/// The most that `PUT /v1/blocked-keys/{spki_sha256}` and an approver's word take, in bytes.
pub const SMALL_LIMIT: usize = 4 * 1_024;
/// The most that `PUT /v1/policies` takes, in bytes.
pub const POLICIES_LIMIT: usize = 8 * 1_024 * 1_024;
/// The whole body, of at most `limit` bytes.
///
/// # Errors
/// 413, 415 (an encoding), 408 (too slow), 400 (the client went away).
pub async fn read(parts: &Parts, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let time = parts.extensions.get::<BodyTime>().map_or(Limits::default().body_read, |time| time.0);
    read_within(&parts.headers, body, limit, time).await
}

async fn read_within(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    time: Duration,
) -> Result<Bytes, Problem> {
    plain(headers)?;
    if announced(headers).is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    match timeout(time, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(too_large(limit)),
        Ok(Err(_)) => {
            Err(Problem::new("body_unreadable", "the body broke off before its end: send it again"))
        }
        Err(_) => Err(Problem::new(
            "body_timeout",
            format!("the body did not arrive within {} seconds: send it again", time.as_secs()),
        )),
    }
}

/// RFC 9110, section 8.4. A compressed body of a few bytes could hold gigabytes.
fn plain(headers: &HeaderMap) -> Result<(), Problem> {
    let identity = |value: &axum::http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().all(identity) {
        return Ok(());
    }
    let detail = "the body is encoded: send it as it is, without Content-Encoding";
    Err(Problem::new("content_encoding_unsupported", detail))
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is larger than {} KiB: send nothing but what is asked for", limit / 1_024);
    Problem::new("body_too_large", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    use axum::http::HeaderValue;

    async fn code(headers: &HeaderMap, body: Body) -> &'static str {
        match read_within(headers, body, 8, Duration::from_millis(20)).await {
            Ok(_) => "read",
            Err(problem) => problem.code(),
        }
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let none = HeaderMap::new();
        assert_eq!(code(&none, Body::from("12345678")).await, "read");
        assert_eq!(code(&none, Body::from("123456789")).await, "body_too_large");
    }

    #[tokio::test]
    async fn an_announced_length_is_refused_before_the_body_is_read() {
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("9"))]);
        let waits_for_ever = Body::new(Silent);
        assert_eq!(code(&headers, waits_for_ever).await, "body_too_large");
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_a_timeout() {
        assert_eq!(code(&HeaderMap::new(), Body::new(Silent)).await, "body_timeout");
    }

    #[tokio::test]
    async fn an_encoded_body_is_refused_and_identity_is_none() {
        for (encoding, expected) in
            [("gzip", "content_encoding_unsupported"), ("identity", "read"), ("Identity", "read")]
        {
            let headers = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(encoding))]);
            assert_eq!(code(&headers, Body::from("x")).await, expected, "{encoding}");
        }
    }

    /// Never gives anything.
    struct Silent;

    impl hyper::body::Body for Silent {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
            std::task::Poll::Pending
        }
    }
}

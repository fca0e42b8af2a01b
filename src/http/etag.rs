//! Answers that a client may have already: RFC 9110, section 13.1.2.
//!
//! The tags are weak: they stand for the rows, not for the instant at which they were read.

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// `answer` with the tag of `facts`, or 304 for who has them already.
pub fn answer(headers: &HeaderMap, mut answer: Response, facts: &impl Serialize) -> Response {
    let Some(tag) = tag(facts) else { return answer };
    if headers.get_all(IF_NONE_MATCH).iter().any(|given| names(given, &tag)) {
        return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
    }
    answer.headers_mut().insert(ETAG, tag);
    answer
}

fn tag(facts: &impl Serialize) -> Option<HeaderValue> {
    let text = serde_json::to_vec(facts).ok()?;
    let hash = digest(&SHA256, &text);
    let short = hash.as_ref().get(..16).unwrap_or_default();
    HeaderValue::try_from(format!("W/\"{}\"", hex::encode(short))).ok()
}

fn names(given: &HeaderValue, tag: &HeaderValue) -> bool {
    let opaque = |text: &str| text.trim().trim_start_matches("W/").to_owned();
    let (Ok(given), Ok(tag)) = (given.to_str(), tag.to_str()) else { return false };
    given.split(',').any(|one| one.trim() == "*" || opaque(one) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(if_none_match: Option<&str>, facts: u32) -> Response {
        let headers = if_none_match.map(|text| (IF_NONE_MATCH, HeaderValue::from_str(text).unwrap()));
        answer(&headers.into_iter().collect(), "body".into_response(), &facts)
    }

    #[test]
    fn who_has_it_already_gets_304() {
        let tag = ask(None, 1).headers()[ETAG].to_str().unwrap().to_owned();
        for given in [&tag, &tag.replace("W/", ""), &format!("\"x\", {tag}"), "*"] {
            assert_eq!(ask(Some(given), 1).status(), StatusCode::NOT_MODIFIED, "{given}");
        }
        assert_eq!(ask(Some(&tag), 2).status(), StatusCode::OK);
        assert_eq!(ask(Some("nonsense"), 1).status(), StatusCode::OK);
    }
}

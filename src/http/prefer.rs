//! The Prefer header (RFC 7240).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The longest that anybody waits, in seconds.
const LONGEST: u64 = 60;

/// How long the client would wait for an answer that says more; section 4.3. What cannot be read is no
/// wish, as every preference that is not known.
pub fn wait(headers: &HeaderMap) -> Option<Duration> {
    let texts = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut seconds = texts.flat_map(|text| text.split(',')).filter_map(seconds);
    // The first one counts, section 2.
    seconds.next().map(|seconds| Duration::from_secs(seconds.min(LONGEST)))
}

fn seconds(preference: &str) -> Option<u64> {
    let (name, value) = preference.split(';').next()?.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("wait") {
        return None;
    }
    value.trim().trim_matches('"').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wish_to_wait_is_read_and_bounded() {
        for (text, expected) in [
            ("wait=10", Some(10)),
            ("respond-async, Wait = 7; x=y", Some(7)),
            ("wait=\"3\"", Some(3)),
            ("wait=3600", Some(60)),
            ("wait=5, wait=9", Some(5)),
            ("wait", None),
            ("wait=soon", None),
            ("wait=-1", None),
            ("return=minimal", None),
        ] {
            let headers = HeaderMap::from_iter([(PREFER, text.parse().unwrap())]);
            assert_eq!(wait(&headers), expected.map(Duration::from_secs), "{text}");
        }
        assert_eq!(wait(&HeaderMap::new()), None);
    }
}

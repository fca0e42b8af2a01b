//! JSON as it goes out: one line that ends in a newline, so that a terminal's prompt stays on its own.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::Problem;

/// What a certificate with its kubeconfig takes, in bytes, so that the usual answer is never moved.
const USUAL_BYTES: usize = 8 * 1_024;

/// A body of `application/json`.
#[derive(Clone, Copy, Debug)]
pub struct JsonLine<T>(pub T);

impl<T: Serialize> IntoResponse for JsonLine<T> {
    fn into_response(self) -> Response {
        let mut line = Vec::with_capacity(USUAL_BYTES);
        answer(serde_json::to_writer(&mut line, &self.0).map(|()| line))
    }
}

/// An object with members, and a few long texts as its last ones. Long texts have little to escape,
/// and what there is can be found faster than character by character.
#[derive(Clone, Debug)]
pub struct WithLongTexts<'a, T> {
    /// An object with one member at the least.
    pub object: T,
    /// Names, as they are written in JSON, and values; null where there is none.
    pub texts: [(&'static str, Option<&'a str>); 2],
}

impl<T: Serialize> IntoResponse for WithLongTexts<'_, T> {
    fn into_response(self) -> Response {
        answer(self.line())
    }
}

impl<T: Serialize> WithLongTexts<'_, T> {
    fn line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = Vec::with_capacity(USUAL_BYTES);
        serde_json::to_writer(&mut line, &self.object)?;
        line.pop();
        for (name, text) in self.texts {
            for part in [",\"", name, "\":"] {
                line.extend_from_slice(part.as_bytes());
            }
            match text {
                Some(text) => write_text(&mut line, text)?,
                None => line.extend_from_slice(b"null"),
            }
        }
        line.push(b'}');
        Ok(line)
    }
}

/// Of the control characters (RFC 8259 section 7) only the end of a line is usual.
fn write_text(line: &mut Vec<u8>, text: &str) -> Result<(), serde_json::Error> {
    let mut rest = text.as_bytes();
    // Not searched: without a branch in the loop it is done many bytes at a time.
    let control = |byte: &u8| u8::from(*byte < b' ' && *byte != b'\n');
    if rest.iter().fold(0, |found, byte| found | control(byte)) > 0 {
        return serde_json::to_writer(line, text);
    }
    line.push(b'"');
    while let Some(place) = memchr::memchr3(b'\n', b'"', b'\\', rest) {
        let (plain, special) = rest.split_at_checked(place).unwrap_or((rest, &[]));
        line.extend_from_slice(plain);
        let Some((special, after)) = special.split_first() else { break };
        line.extend_from_slice(&[b'\\', if *special == b'\n' { b'n' } else { *special }]);
        rest = after;
    }
    line.extend_from_slice(rest);
    line.push(b'"');
    Ok(())
}

fn answer(line: Result<Vec<u8>, serde_json::Error>) -> Response {
    match line {
        Ok(mut line) => {
            line.push(b'\n');
            ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], line).into_response()
        }
        Err(error) => Problem::internal(format!("an answer cannot be written: {error}")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn long_texts_are_the_last_members() {
        let texts = [("first", Some("a\nb")), ("second", None)];
        let line = WithLongTexts { object: json!({ "serial": "1" }), texts }.line().unwrap();
        assert_eq!(String::from_utf8(line).unwrap(), r#"{"serial":"1","first":"a\nb","second":null}"#);
    }

    proptest! {
        #[test]
        fn a_long_text_is_written_as_the_library_does(text in r#"[ -~\n"\\]{0,40}|[\x00-\x7f"\\]{0,20}|\PC{0,20}"#) {
            let mut line = Vec::new();
            write_text(&mut line, &text).unwrap();
            prop_assert_eq!(&line, &serde_json::to_vec(&text).unwrap());
            prop_assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), Value::String(text));
        }
    }
}

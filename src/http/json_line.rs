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
        match serde_json::to_writer(&mut line, &self.0) {
            Ok(()) => {
                line.push(b'\n');
                ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], line).into_response()
            }
            Err(error) => Problem::internal(format!("an answer cannot be written: {error}")).into_response(),
        }
    }
}

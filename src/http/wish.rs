//! What `POST /v1/sign` is asked for: the query and a JSON body, put together and read.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::accept::Form;
use super::error::Problem;
use super::parameters::{Parameters, invalid, repeated};
use crate::app::AppError;
use crate::kubeconfig::{KeyPath, Shape};
use crate::pki::pem::Keyless;
use crate::policy::file::as_json;
use crate::time::Lifetime;

/// The parameters of `POST /v1/sign`.
pub const PARAMETERS: &[&str] =
    &["cluster", "ttl", "dry_run", "on_behalf_of", "reason", "key_path", "shape", "format"];
/// The most that `reason` takes, in bytes.
const LONGEST_REASON: usize = 500;

/// What is asked for, beside the names and the key in the CSR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// None: the only one that there is.
    pub cluster: Option<String>,
    /// None: the cluster's default.
    pub ttl: Option<Lifetime>,
    /// Check everything, sign nothing.
    pub dry_run: bool,
    /// The person whom a portal names.
    pub on_behalf_of: Option<String>,
    /// Free text for the record.
    pub reason: Option<String>,
    /// How the certificate is sent.
    pub rendering: Rendering,
}

/// How a certificate is sent: for signing, and for reading it again later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendering {
    /// None: what Accept says.
    pub form: Option<Form>,
    /// None: one made from the user's name.
    pub key_path: Option<KeyPath>,
    /// Of the kubeconfig.
    pub shape: Shape,
}

impl Rendering {
    /// Reads `format`, `key_path` and `shape`.
    ///
    /// # Errors
    /// 400 for what cannot be read.
    pub fn parse(format: Option<&str>, key_path: Option<&str>, shape: Option<&str>) -> Result<Self, Problem> {
        let key_path = key_path.map(|text| {
            KeyPath::parse(text)
                .ok_or_else(|| invalid("key_path is a bare file name of up to 255 letters, digits and . _ @ -, not beginning with -"))
        });
        let shape = shape
            .map(|text| Shape::parse(text).ok_or_else(|| invalid("shape is one of standalone, fragment")));
        Ok(Self {
            form: format.map(Form::parse).transpose()?,
            key_path: key_path.transpose()?,
            shape: shape.transpose()?.unwrap_or_default(),
        })
    }
}

/// The fields as they came, from the query, or from the query and a JSON body together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    cluster: Option<String>,
    ttl: Option<String>,
    dry_run: Option<bool>,
    on_behalf_of: Option<String>,
    reason: Option<String>,
    key_path: Option<String>,
    shape: Option<String>,
    format: Option<String>,
}

impl Fields {
    /// Those of a query string.
    ///
    /// # Errors
    /// 400 for an unknown, repeated or unreadable parameter.
    pub fn from_query(query: Option<&str>) -> Result<Self, Problem> {
        let mut parameters = Parameters::parse(query, PARAMETERS)?;
        Ok(Self {
            cluster: parameters.take_filled("cluster")?,
            ttl: parameters.take("ttl"),
            dry_run: parameters.take("dry_run").as_deref().map(switch).transpose()?,
            on_behalf_of: parameters.take_filled("on_behalf_of")?,
            reason: parameters.take_filled("reason")?,
            key_path: parameters.take_filled("key_path")?,
            shape: parameters.take_filled("shape")?,
            format: parameters.take_filled("format")?,
        })
    }

    /// These and those of the body, with what stands for the CSR: a JSON body's `csr`, else the whole body.
    ///
    /// # Errors
    /// 400 for JSON that cannot be read or that repeats a parameter of the query; a private key.
    pub fn with_body(self, body: Bytes) -> Result<(Self, Keyless<Bytes>), Problem> {
        let body = keyless(body)?;
        let Some(json) = as_json(body.bytes()) else {
            return Ok((self, body));
        };
        let (fields, csr) = JsonBody::read(json)?;
        Ok((self.and(fields)?, csr))
    }

    /// Reads every field.
    ///
    /// # Errors
    /// 400 for what cannot be read.
    pub fn read(self) -> Result<Wish, Problem> {
        let rendering =
            Rendering::parse(self.format.as_deref(), self.key_path.as_deref(), self.shape.as_deref())?;
        for text in [&self.reason, &self.on_behalf_of, &self.cluster].into_iter().flatten() {
            keyless(text.as_bytes())?;
        }
        Ok(Wish {
            cluster: self.cluster,
            ttl: self.ttl.as_deref().map(lifetime).transpose()?,
            dry_run: self.dry_run.unwrap_or_default(),
            on_behalf_of: self.on_behalf_of.map(|text| one_line("on_behalf_of", text)).transpose()?,
            reason: self.reason.map(|text| one_line("reason", text)).transpose()?,
            rendering,
        })
    }

    fn and(self, body: Self) -> Result<Self, Problem> {
        Ok(Self {
            cluster: once("cluster", self.cluster, body.cluster)?,
            ttl: once("ttl", self.ttl, body.ttl)?,
            dry_run: once("dry_run", self.dry_run, body.dry_run)?,
            on_behalf_of: once("on_behalf_of", self.on_behalf_of, body.on_behalf_of)?,
            reason: once("reason", self.reason, body.reason)?,
            key_path: once("key_path", self.key_path, body.key_path)?,
            shape: once("shape", self.shape, body.shape)?,
            format: once("format", self.format, body.format)?,
        })
    }
}

/// serde refuses unknown fields, repeated ones, nesting beyond 128 levels and text after the end.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonBody {
    csr: String,
    cluster: Option<String>,
    ttl: Option<Value>,
    dry_run: Option<bool>,
    on_behalf_of: Option<String>,
    reason: Option<String>,
    key_path: Option<String>,
    shape: Option<String>,
    format: Option<String>,
}

impl JsonBody {
    fn read(json: &[u8]) -> Result<(Fields, Keyless<Bytes>), Problem> {
        let body: Self = serde_json::from_slice(json).map_err(|error| {
            Problem::new("json_invalid", format!("the JSON body cannot be read: {error}"))
        })?;
        let csr = keyless(Bytes::from(body.csr))?;
        let fields = Fields {
            cluster: filled("cluster", body.cluster)?,
            ttl: body.ttl.map(ttl_text),
            dry_run: body.dry_run,
            on_behalf_of: filled("on_behalf_of", body.on_behalf_of)?,
            reason: filled("reason", body.reason)?,
            key_path: filled("key_path", body.key_path)?,
            shape: filled("shape", body.shape)?,
            format: filled("format", body.format)?,
        };
        Ok((fields, csr))
    }
}

/// What holds no private key.
///
/// # Errors
/// 422 `private_key_in_body`.
pub(super) fn keyless<B: AsRef<[u8]>>(bytes: B) -> Result<Keyless<B>, Problem> {
    Ok(Keyless::search(bytes).map_err(AppError::Body)?)
}

fn once<T>(name: &str, query: Option<T>, body: Option<T>) -> Result<Option<T>, Problem> {
    if query.is_some() && body.is_some() {
        return Err(repeated(name));
    }
    Ok(query.or(body))
}

fn filled(name: &str, value: Option<String>) -> Result<Option<String>, Problem> {
    match value {
        Some(value) if value.is_empty() => Err(invalid(format!("{name} is empty: leave it out or fill it"))),
        other => Ok(other),
    }
}

/// `?dry_run` alone means yes, as a flag does on a command line.
fn switch(text: &str) -> Result<bool, Problem> {
    match text {
        "true" | "1" | "" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(invalid("dry_run is one of true, false")),
    }
}

/// As it would stand in a query: `3600` for a number.
pub(super) fn ttl_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// Reads a lifetime that can be asked for.
///
/// # Errors
/// 400 `ttl_invalid`.
pub(super) fn lifetime(text: &str) -> Result<Lifetime, Problem> {
    let ttl =
        Lifetime::parse(text).map_err(|reason| Problem::new("ttl_invalid", format!("ttl: {reason}")))?;
    if ttl < Lifetime::LEAST || ttl > Lifetime::MOST {
        let detail = format!("ttl is {ttl}: ask for at least 10m and at most ten years (3650d)");
        return Err(Problem::new("ttl_invalid", detail));
    }
    Ok(ttl)
}

fn one_line(name: &str, text: String) -> Result<String, Problem> {
    if text.len() > LONGEST_REASON {
        return Err(invalid(format!("{name} is longer than {LONGEST_REASON} bytes: shorten it")));
    }
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(invalid(format!("{name} has a control character or a line break: write it on one line")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, body: &str) -> Result<(Wish, Keyless<Bytes>), &'static str> {
        let fields = Fields::from_query(Some(query)).map_err(|problem| problem.code())?;
        let (fields, csr) =
            fields.with_body(Bytes::copy_from_slice(body.as_bytes())).map_err(|problem| problem.code())?;
        Ok((fields.read().map_err(|problem| problem.code())?, csr))
    }

    fn refusal(query: &str, body: &str) -> &'static str {
        read(query, body).unwrap_err()
    }

    #[test]
    fn a_body_that_is_not_json_is_the_csr() {
        let (wish, csr) = read("cluster=prod&ttl=8h&dry_run&reason=a+b", "-----BEGIN").unwrap();
        assert_eq!(csr.bytes(), b"-----BEGIN");
        assert_eq!(wish.cluster.as_deref(), Some("prod"));
        assert_eq!(wish.ttl, Some(Lifetime::from_seconds(28_800)));
        assert_eq!(wish.reason.as_deref(), Some("a b"));
        assert!(wish.dry_run);
    }

    #[test]
    fn json_is_recognised_behind_a_byte_order_mark_and_white_space() {
        for start in ["", " \r\n\t", "\u{feff}", "\u{feff} \n"] {
            let (wish, csr) =
                read("", &format!("{start}{{\"csr\": \"x\", \"cluster\": \"prod\"}}\n")).unwrap();
            assert_eq!((csr.bytes(), wish.cluster.as_deref()), (&b"x"[..], Some("prod")));
        }
    }

    #[test]
    fn a_lifetime_in_json_is_text_or_a_number() {
        for (ttl, seconds) in [("\"8h\"", 28_800), ("28800", 28_800), ("\"600\"", 600)] {
            let (wish, _) = read("", &format!(r#"{{"csr":"x","ttl":{ttl}}}"#)).unwrap();
            assert_eq!(wish.ttl, Some(Lifetime::from_seconds(seconds)), "{ttl}");
        }
        for ttl in ["599", "-1", "1.5", "1e3", "true", "[]", "{}", "\"\"", "315360001"] {
            assert_eq!(refusal("", &format!(r#"{{"csr":"x","ttl":{ttl}}}"#)), "ttl_invalid", "{ttl}");
        }
    }

    #[test]
    fn json_that_is_not_exactly_what_is_known_is_refused() {
        for body in [
            "{}",
            "{",
            r#"{"csr":"x"} {"csr":"y"}"#,
            r#"{"csr":"x","csr":"y"}"#,
            r#"{"csr":"x","c\u0073r":"y"}"#,
            r#"{"csr":"x","dry_run":"true"}"#,
            r#"{"csr":["x"]}"#,
            r#"{"csr":"x","usages":[]}"#,
            "{\"csr\":\"\u{7f}\u{1}\"}",
        ] {
            assert_eq!(refusal("", body), "json_invalid", "{body}");
        }
        let deep = format!(r#"{{"csr":"x","ttl":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(refusal("", &deep), "json_invalid");
    }

    #[test]
    fn what_stands_in_the_query_and_in_the_body_is_refused() {
        assert_eq!(refusal("cluster=prod", r#"{"csr":"x","cluster":"prod"}"#), "parameter_repeated");
        assert_eq!(refusal("ttl=8h", r#"{"csr":"x","ttl":"8h"}"#), "parameter_repeated");
        assert_eq!(refusal("dry_run=false", r#"{"csr":"x","dry_run":false}"#), "parameter_repeated");
    }

    #[test]
    fn an_empty_value_is_refused() {
        for query in ["cluster=", "on_behalf_of", "reason=", "format="] {
            assert_eq!(refusal(query, "x"), "parameter_invalid", "{query}");
        }
        assert_eq!(refusal("ttl=", "x"), "ttl_invalid");
        assert_eq!(refusal("", r#"{"csr":"x","cluster":""}"#), "parameter_invalid");
    }

    #[test]
    fn a_reason_is_one_bounded_line() {
        let reason = |text: &str| refusal("", &serde_json::json!({"csr": "x", "reason": text}).to_string());
        for text in ["a\nb", "a\u{0}", "a\u{85}", "a\u{2028}", &"é".repeat(251)] {
            assert_eq!(reason(text), "parameter_invalid", "{text}");
        }
        assert!(read(&format!("reason={}", "x".repeat(500)), "x").is_ok());
    }

    #[test]
    fn a_dry_run_is_asked_for_in_plain_words() {
        for (query, dry_run) in
            [("dry_run=true", true), ("dry_run=1", true), ("dry_run=0", false), ("", false)]
        {
            assert_eq!(read(query, "x").unwrap().0.dry_run, dry_run, "{query}");
        }
        assert_eq!(refusal("dry_run=yes", "x"), "parameter_invalid");
    }
}

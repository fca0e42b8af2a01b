//! Which form an answer has: `?format=` first, then the Accept header (RFC 9110, section 12.5.1).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use super::error::Problem;
use crate::export;

/// The form of a certificate's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Everything about it.
    Json,
    /// YAML for kubectl.
    Kubeconfig,
    /// Leaf first, then intermediates.
    Pem,
}

/// A form with the media type that it is sent as: the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What is sent.
    pub form: Form,
    /// As what.
    pub media_type: &'static str,
}

/// What a certificate can be sent as, in the order of our own preference.
const CERTIFICATE: &[Offer] = &[
    offer(Form::Json, "application/json"),
    offer(Form::Kubeconfig, "application/yaml"),
    offer(Form::Kubeconfig, "text/yaml"),
    offer(Form::Kubeconfig, "application/x-yaml"),
    offer(Form::Pem, "application/x-pem-file"),
    offer(Form::Pem, "application/pem-certificate-chain"),
];
/// What a list can be sent as.
const LIST: [&str; 3] = ["application/json", "text/csv", "application/x-ndjson"];

impl Form {
    /// Reads the parameter `format`.
    ///
    /// # Errors
    /// 400 with the three words that there are.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        match text {
            "json" => Ok(Self::Json),
            "kubeconfig" => Ok(Self::Kubeconfig),
            "pem" => Ok(Self::Pem),
            _ => Err(Problem::new("parameter_invalid", "format is one of json, kubeconfig, pem")),
        }
    }

    fn offer(self) -> Offer {
        match self {
            Self::Json => offer(self, "application/json"),
            Self::Kubeconfig => offer(self, "application/yaml"),
            Self::Pem => offer(self, "application/x-pem-file"),
        }
    }
}

/// The form of a certificate: what `format` says, else what Accept does.
///
/// # Errors
/// 406 with the choices.
pub fn certificate(format: Option<Form>, headers: &HeaderMap) -> Result<Offer, Problem> {
    match format {
        Some(form) => Ok(form.offer()),
        None => choose(CERTIFICATE, headers),
    }
}

/// What a list can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One page, as JSON.
    Page,
    /// The whole answer, row by row.
    Stream(export::Form),
}

/// A list: what `format` says, else what Accept does.
///
/// # Errors
/// 400 for another format, 406 with the choices.
pub fn list(format: Option<&str>, headers: &HeaderMap) -> Result<Shape, Problem> {
    let kind = match format {
        None => pick(&LIST, headers)?,
        Some("json") => "application/json",
        Some("csv") => "text/csv",
        Some("ndjson") => "application/x-ndjson",
        Some(_) => return Err(Problem::new("parameter_invalid", "format is one of json, csv, ndjson")),
    };
    Ok(match kind {
        "text/csv" => Shape::Stream(export::Form::Csv),
        "application/x-ndjson" => Shape::Stream(export::Form::Ndjson),
        _ => Shape::Page,
    })
}

/// Makes sure that the client takes JSON.
///
/// # Errors
/// 406 with the choices.
pub fn json(headers: &HeaderMap) -> Result<(), Problem> {
    pick(&["application/json"], headers).map(|_| ())
}

const fn offer(form: Form, media_type: &'static str) -> Offer {
    Offer { form, media_type }
}

fn choose(offers: &[Offer], headers: &HeaderMap) -> Result<Offer, Problem> {
    let kinds: Vec<_> = offers.iter().map(|offer| offer.media_type).collect();
    let kind = pick(&kinds, headers)?;
    offers.iter().copied().find(|offer| offer.media_type == kind).ok_or_else(|| refusal(&kinds))
}

/// The one of `kinds` that the client likes best; the first where it does not say.
fn pick(kinds: &[&'static str], headers: &HeaderMap) -> Result<&'static str, Problem> {
    let ranges = ranges(headers);
    if ranges.is_empty() {
        return kinds.first().copied().ok_or_else(|| refusal(kinds));
    }
    let mut best: Option<(Rank, &'static str)> = None;
    for kind in kinds {
        if let Some(rank) = rank(&ranges, kind)
            && best.is_none_or(|(least, _)| rank > least)
        {
            best = Some((rank, kind));
        }
    }
    best.map(|(_, kind)| kind).ok_or_else(|| refusal(kinds))
}

/// Quality in thousandths, then how exactly it is named, then how early: curl's `*/*` at the end of a
/// list must not win over what stands before it.
type Rank = (u16, u8, std::cmp::Reverse<usize>);

fn rank(ranges: &[Range], media_type: &str) -> Option<Rank> {
    let matching = ranges.iter().enumerate().filter_map(|(place, range)| {
        range.exactness(media_type).map(|exactness| (exactness, std::cmp::Reverse(place), range.quality))
    });
    let (exactness, place, quality) = matching.max()?;
    (quality > 0).then_some((quality, exactness, place))
}

struct Range {
    kind: String,
    quality: u16,
}

impl Range {
    /// None for what is no media range; such an entry is passed over.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next()?.to_ascii_lowercase();
        let (major, minor) = kind.split_once('/')?;
        if major.is_empty() || minor.is_empty() || (major == "*" && minor != "*") {
            return None;
        }
        let mut quality = 1_000;
        for parameter in parts {
            if let Some(value) = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")) {
                quality = thousandths(value)?;
            }
        }
        Some(Self { kind, quality })
    }

    fn exactness(&self, media_type: &str) -> Option<u8> {
        if self.kind == media_type {
            return Some(2);
        }
        if self.kind == "*/*" {
            return Some(0);
        }
        let major = self.kind.strip_suffix("/*")?;
        media_type.split_once('/').is_some_and(|(ours, _)| ours == major).then_some(1)
    }
}

/// `0`, `1`, or up to three digits after the point.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match (whole, fraction) {
        ("0", fraction) => Some(fraction),
        ("1", 0) => Some(1_000),
        _ => None,
    }
}

/// Empty where there is no Accept header, or an empty one.
fn ranges(headers: &HeaderMap) -> Vec<Range> {
    let texts: Vec<_> = headers.get_all(ACCEPT).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    let entries =
        texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty());
    let nothing = || Range { kind: String::new(), quality: 0 };
    entries.map(|text| Range::parse(text).unwrap_or_else(nothing)).collect()
}

fn refusal(kinds: &[&str]) -> Problem {
    let detail = format!("the answer exists in none of the forms in Accept: ask for {}", kinds.join(", "));
    Problem::new("not_acceptable", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    use axum::http::HeaderValue;

    fn chosen(accept: &str) -> Option<&'static str> {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(accept).unwrap())]);
        certificate(None, &headers).ok().map(|offer| offer.media_type)
    }

    #[test]
    fn json_is_what_whoever_does_not_ask_gets() {
        assert_eq!(certificate(None, &HeaderMap::new()).unwrap().form, Form::Json);
        for accept in ["*/*", "application/*", "", " , ", "text/html, application/xml;q=0.9, */*;q=0.8"] {
            assert_eq!(chosen(accept), Some("application/json"), "{accept}");
        }
    }

    #[test]
    fn what_is_asked_for_is_what_is_sent() {
        for accept in
            ["application/yaml", "text/yaml", "application/x-yaml", "application/pem-certificate-chain"]
        {
            assert_eq!(chosen(accept), Some(accept));
        }
        assert_eq!(chosen("Application/YAML; charset=utf-8"), Some("application/yaml"));
        assert_eq!(chosen("text/*"), Some("text/yaml"));
    }

    #[test]
    fn quality_decides_then_exactness_then_order() {
        for (accept, expected) in [
            ("application/json;q=0.5, application/yaml", "application/yaml"),
            ("application/yaml, */*", "application/yaml"),
            ("*/*, application/yaml", "application/yaml"),
            ("application/x-pem-file, application/json", "application/x-pem-file"),
            ("application/json;q=0, */*", "application/yaml"),
            ("application/yaml;q=0.001, text/csv", "application/yaml"),
        ] {
            assert_eq!(chosen(accept), Some(expected), "{accept}");
        }
    }

    #[test]
    fn what_does_not_exist_is_406_with_the_choices() {
        for accept in
            ["text/csv", "application/json;q=0", "image/*", "nonsense", "application/json;q=2", "*/json"]
        {
            assert_eq!(chosen(accept), None, "{accept}");
        }
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/csv"))]);
        let problem = certificate(None, &headers).unwrap_err();
        assert_eq!(problem.status().as_u16(), 406);
        assert!(format!("{problem:?}").contains("application/pem-certificate-chain"));
        assert!(json(&headers).is_err());
    }

    #[test]
    fn a_list_is_a_page_unless_rows_are_asked_for() {
        let shape = |accept: &'static str| {
            list(None, &HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))])).ok()
        };
        assert_eq!(list(None, &HeaderMap::new()).unwrap(), Shape::Page);
        assert_eq!(shape("*/*"), Some(Shape::Page));
        assert_eq!(shape("text/csv"), Some(Shape::Stream(export::Form::Csv)));
        assert_eq!(shape("application/x-ndjson, */*"), Some(Shape::Stream(export::Form::Ndjson)));
        assert_eq!(shape("application/yaml"), None);
        assert_eq!(list(Some("csv"), &HeaderMap::new()).unwrap(), Shape::Stream(export::Form::Csv));
        assert!(list(Some("xml"), &HeaderMap::new()).is_err());
    }

    #[test]
    fn format_wins_over_accept() {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/csv"))]);
        assert_eq!(certificate(Some(Form::Pem), &headers).unwrap().media_type, "application/x-pem-file");
        assert!(Form::parse("yaml").is_err());
    }
}

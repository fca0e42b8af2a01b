//! Lists: `limit`, `cursor` and filters in, `{"items": [...], "next_cursor": ...}` out.

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::header::LINK;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::accept::{self, Shape};
use super::error::Problem;
use super::json_line::JsonLine;
use super::parameters::{Parameters, invalid};
use crate::filters::{Texts, Wrong};
use crate::store::Span;
use crate::time::Time;

/// Rows of a page where the client says nothing.
const LIMIT: u32 = 100;
/// The most rows of a page.
const HIGHEST_LIMIT: u32 = 1_000;
/// The first octet of every cursor, so that another format can follow.
const CURSOR_VERSION: u8 = 1;
/// What stands unescaped in a query string (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One request for a list.
#[derive(Debug)]
pub struct Query {
    path: &'static str,
    /// The filters as they were given, by name.
    given: Vec<(String, String)>,
    /// The filters, to be read.
    pub filters: Texts,
    /// What the answer is to be.
    pub shape: Shape,
    /// As it was given, for the next page.
    format: Option<String>,
    limit: Option<u32>,
    cursor: Option<i64>,
}

impl Query {
    /// Reads the query string of a list at `path` that takes the parameters `known`.
    ///
    /// # Errors
    /// 400 for an unknown parameter, a limit out of bounds, or a cursor of another list; 406 for a
    /// form that there is not.
    pub fn parse(
        path: &'static str,
        query: Option<&str>,
        headers: &HeaderMap,
        known: &[&str],
    ) -> Result<Self, Problem> {
        let mut parameters = Parameters::parse(query, known)?;
        let format = parameters.take_filled("format")?;
        let shape = accept::list(format.as_deref(), headers)?;
        let limit = parameters.take("limit").as_deref().map(|text| limit(text, shape)).transpose()?;
        let cursor = parameters.take("cursor");
        let given: Vec<_> = parameters
            .sorted()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let filters = Texts::new(given.clone());
        let mut this = Self { path, filters, given, shape, format, limit, cursor: None };
        this.cursor = cursor.map(|text| this.number(&text)).transpose()?;
        Ok(this)
    }

    /// The rows of `span` behind the cursor, one more than is sent, to know whether there is a next page.
    #[must_use]
    pub fn page(&self, span: Span) -> Span {
        let limit = self.limit.unwrap_or(LIMIT).saturating_add(1);
        Span { limit, ..self.rest(span) }
    }

    /// All rows of `span` behind the cursor.
    #[must_use]
    pub fn rest(&self, span: Span) -> Span {
        self.cursor.map_or(span, |number| span.behind(number))
    }

    /// The list.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// The filters as they were given.
    #[must_use]
    pub fn question(&self) -> String {
        let pairs: Vec<_> = self.given.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    }

    /// How many rows the client wants at most, where it said so.
    #[must_use]
    pub fn limit(&self) -> Option<u32> {
        self.limit
    }

    /// Leaves no more rows than were asked for, and gives the cursor of the next page, if there is one.
    #[must_use]
    pub fn cut<T>(&self, rows: &mut Vec<T>, number: impl Fn(&T) -> i64) -> Option<String> {
        let limit = usize::try_from(self.limit.unwrap_or(LIMIT)).unwrap_or(usize::MAX);
        if rows.len() <= limit {
            return None;
        }
        rows.truncate(limit);
        rows.last().map(|row| self.write_cursor(number(row)))
    }

    /// The cursor of what stands behind the row `number`.
    #[must_use]
    pub fn cursor_behind(&self, number: i64) -> String {
        self.write_cursor(number)
    }

    /// How many rows a page has at most.
    #[must_use]
    pub fn page_limit(&self) -> u32 {
        self.limit.unwrap_or(LIMIT)
    }

    /// The answer.
    #[must_use]
    pub fn answer<T: Serialize>(
        &self,
        as_of: Option<Time>,
        items: &[T],
        next_cursor: Option<&str>,
    ) -> Response {
        let mut response = JsonLine(ListBody { as_of, items, next_cursor }).into_response();
        if let Some(link) = next_cursor.and_then(|cursor| HeaderValue::try_from(self.link(cursor)).ok()) {
            response.headers_mut().insert(LINK, link);
        }
        response
    }

    /// RFC 8288.
    fn link(&self, cursor: &str) -> String {
        let filters = self.given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let format = self.format.iter().map(|format| ("format", format.as_str()));
        let limit = self.limit.unwrap_or(LIMIT).to_string();
        let pairs: Vec<_> = filters
            .chain(format)
            .chain([("limit", limit.as_str()), ("cursor", cursor)])
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, ESCAPED)))
            .collect();
        format!("<{}?{}>; rel=\"next\"", self.path, pairs.join("&"))
    }

    fn write_cursor(&self, number: i64) -> String {
        let mut octets = vec![CURSOR_VERSION];
        octets.extend(number.to_be_bytes());
        octets.extend(self.binding());
        URL_SAFE_NO_PAD.encode(octets)
    }

    fn number(&self, cursor: &str) -> Result<i64, Problem> {
        let detail = "the cursor is not from this list with these filters: begin without one";
        let other = || Problem::new("cursor_invalid", detail);
        let octets = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| other())?;
        let (number, binding) = octets
            .strip_prefix(&[CURSOR_VERSION])
            .ok_or_else(other)?
            .split_at_checked(8)
            .ok_or_else(other)?;
        if binding != self.binding() {
            return Err(other());
        }
        number.try_into().map(i64::from_be_bytes).map_err(|_| other())
    }

    /// What a cursor is bound to: the list and its filters. A page may be longer than the one before it.
    fn binding(&self) -> [u8; 8] {
        let mut text = Vec::from(self.path.as_bytes());
        for (name, value) in &self.given {
            // No decoded parameter has a control character, so nothing else reads like this.
            text.push(0);
            text.extend(name.bytes().chain([b'=']).chain(value.bytes()));
        }
        let mut binding = [0; 8];
        binding.iter_mut().zip(digest(&SHA256, &text).as_ref()).for_each(|(to, from)| *to = *from);
        binding
    }
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Self {
        invalid(wrong.0)
    }
}

#[derive(Serialize)]
struct ListBody<'a, T> {
    /// The moment of each status.
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Time>,
    items: &'a [T],
    next_cursor: Option<&'a str>,
}

/// A whole answer may be of any length.
fn limit(text: &str, shape: Shape) -> Result<u32, Problem> {
    let highest = if shape == Shape::Page { HIGHEST_LIMIT } else { u32::MAX };
    match text.parse() {
        Ok(limit) if (1..=highest).contains(&limit) && !text.starts_with('+') => Ok(limit),
        _ => Err(invalid(format!("limit is a number from 1 to {highest}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Order;

    const KNOWN: &[&str] = &["user", "group", "limit", "cursor", "format"];
    const ALL: Span = Span::all(Order::NewestFirst, 0);

    fn parse(query: &str) -> Result<Query, &'static str> {
        Query::parse("/v1/things", Some(query), &HeaderMap::new(), KNOWN).map_err(|problem| problem.code())
    }

    fn cursor(query: &str) -> String {
        let mut rows: Vec<i64> = (1..=50).rev().collect();
        parse(query).unwrap().cut(&mut rows, |row| *row).unwrap()
    }

    #[test]
    fn a_full_page_is_followed_by_another_and_a_last_one_is_not() {
        let query = parse("limit=2").unwrap();
        assert_eq!(query.page(ALL).limit, 3);
        let mut rows = vec![9, 8, 7];
        let next = query.cut(&mut rows, |row| *row).unwrap();
        assert_eq!(rows, [9, 8]);
        assert_eq!(parse(&format!("limit=5&cursor={next}")).unwrap().page(ALL).below, 8);
        assert_eq!(query.cut(&mut vec![9, 8], |row| *row), None);
    }

    #[test]
    fn a_cursor_belongs_to_its_filters_and_to_its_list() {
        let next = cursor("user=a&group=b&limit=5");
        assert!(parse(&format!("group=b&user=a&cursor={next}")).is_ok());
        for other in ["user=a", "user=b&group=a", "group=b&user=", ""] {
            assert_eq!(parse(&format!("{other}&cursor={next}")).unwrap_err(), "cursor_invalid", "{other}");
        }
        let query = format!("user=a&group=b&cursor={next}");
        assert!(Query::parse("/v1/others", Some(&query), &HeaderMap::new(), KNOWN).is_err());
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for cursor in ["", "x", "AQ", "AQAAAAAAAAAIAAAAAAAAAAA", "%21", "AQAAAAAAAAAI"] {
            assert_eq!(parse(&format!("cursor={cursor}")).unwrap_err(), "cursor_invalid", "{cursor}");
        }
    }

    #[test]
    fn a_limit_is_a_number_within_bounds() {
        for limit in ["0", "-1", "1001", "+5", "ten", "", "5.0", "99999999999"] {
            assert_eq!(parse(&format!("limit={limit}")).unwrap_err(), "parameter_invalid", "{limit}");
        }
        assert_eq!(parse("limit=1000").unwrap().page(ALL).limit, 1_001);
        assert_eq!(parse("").unwrap().page(ALL).limit, 101);
        assert_eq!(parse("format=csv&limit=2000000").unwrap().limit(), Some(2_000_000));
    }

    #[test]
    fn the_link_leads_to_the_next_page_with_the_same_filters() {
        let query = parse("user=a%26b+%3E&limit=7").unwrap();
        let response = query.answer(None, &[1], Some("CURSOR"));
        let link = response.headers()[LINK].to_str().unwrap();
        assert_eq!(link, "</v1/things?user=a%26b%20%3E&limit=7&cursor=CURSOR>; rel=\"next\"");
        assert!(!query.answer(None, &[1], None).headers().contains_key(LINK));
        // Whoever accepts CSV and asked for JSON all the same gets JSON again.
        let link = parse("format=json&limit=7").unwrap().link("CURSOR");
        assert_eq!(link, "</v1/things?format=json&limit=7&cursor=CURSOR>; rel=\"next\"");
    }
}

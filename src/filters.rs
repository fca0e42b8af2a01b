//! Filters as people write them: a name and a text each, read strictly. A typo must not give an
//! auditor a wrong answer, so what is not understood is refused and nothing is guessed.

use crate::audit::EventKind;
use crate::caller::Caller;
use crate::pki::name::ShortName;
use crate::pki::serial::Serial;
use crate::store::{CertificateFilter, CertificateStatus, EventFilter, Order, RefusalFilter, Span};
use crate::time::Time;

/// The filters of certificates, by name.
pub const CERTIFICATES: &[&str] = &[
    "user",
    "group",
    "cluster",
    "caller",
    "on_behalf_of",
    "policy",
    "serial",
    "credential_id",
    "status",
    "issued_after",
    "issued_before",
    "expires_after",
    "expires_before",
    "valid_at",
    "valid_from",
    "valid_to",
];

/// The filters of refusals, by name.
pub const REFUSALS: &[&str] =
    &["user", "group", "cluster", "caller", "on_behalf_of", "policy", "code", "after", "before"];

/// The filters of events, by name.
pub const EVENTS: &[&str] = &["kind", "caller", "at_after", "at_before"];

/// Which filter is wrong and how, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(pub String);

/// Names with their texts; each name is there at most once.
#[derive(Clone, Debug, Default)]
pub struct Texts(Vec<(String, String)>);

impl Texts {
    /// From pairs of a name and a text.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// Takes one out.
    ///
    /// # Errors
    /// It is there and empty: that would find nothing, or everything.
    pub fn take(&mut self, name: &str) -> Result<Option<String>, Wrong> {
        let Some(place) = self.0.iter().position(|(given, _)| given == name) else { return Ok(None) };
        match self.0.remove(place).1 {
            text if text.is_empty() => Err(Wrong(format!("{name} is empty: leave it out or fill it"))),
            text => Ok(Some(text)),
        }
    }

    fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Wrong> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        read(&text).map(Some).map_err(|reason| Wrong(format!("{name}: {reason}")))
    }

    fn short_name(&mut self, name: &str) -> Result<Option<String>, Wrong> {
        self.read(name, |text| ShortName::parse(text).map(|name| name.to_string()).map_err(|e| e.to_string()))
    }

    fn time(&mut self, name: &str) -> Result<Option<Time>, Wrong> {
        self.read(name, |text| Time::parse(text).map_err(|wrong| wrong + plus_hint(text)))
    }

    /// A caller as records have it: a forgotten `token:` must not look like an empty ledger.
    fn caller(&mut self) -> Result<Option<String>, Wrong> {
        self.read("caller", |text| {
            let operator = text.strip_prefix("cli:").is_some_and(|name| !name.is_empty());
            match Caller::parse(text) {
                Err(reason) if !operator => Err(format!("{reason}, or cli:NAME")),
                _ => Ok(text.to_owned()),
            }
        })
    }
}

/// Reads the filters of [`CERTIFICATES`]; a status is that of the moment `now`.
///
/// # Errors
/// The first that is wrong.
pub fn certificates(texts: &mut Texts, now: Time) -> Result<CertificateFilter, Wrong> {
    let filter = CertificateFilter {
        user: texts.take("user")?,
        group: texts.take("group")?,
        cluster: texts.short_name("cluster")?,
        caller: texts.caller()?,
        own: None,
        on_behalf_of: texts.take("on_behalf_of")?,
        policy: texts.short_name("policy")?,
        serial: texts.read("serial", serial)?,
        sha256: texts.read("credential_id", credential_id)?,
        status: texts.read("status", |text| status(text, now))?,
        issued_after: texts.time("issued_after")?,
        issued_before: texts.time("issued_before")?,
        expires_after: texts.time("expires_after")?,
        expires_before: texts.time("expires_before")?,
        valid_at: texts.time("valid_at")?,
        valid_between: valid_between(texts)?,
    };
    in_order("issued", filter.issued_after, filter.issued_before)?;
    in_order("expires", filter.expires_after, filter.expires_before)?;
    Ok(filter)
}

/// Reads `drifted`, whose only text is `true`: live certificates that today's policy would no longer
/// give.
///
/// # Errors
/// Another text, or a status in `filter` that no live certificate has.
pub fn drifted(texts: &mut Texts, filter: &CertificateFilter) -> Result<bool, Wrong> {
    let is_true = |text: &str| if text == "true" { Ok(()) } else { Err("true, or left out".to_owned()) };
    let drifted = texts.read("drifted", is_true)?.is_some();
    if drifted && matches!(filter.status, Some((CertificateStatus::Expired, _))) {
        return Err(Wrong("drifted: only live certificates are looked at, so leave status out".to_owned()));
    }
    Ok(drifted)
}

/// Reads the filters of [`REFUSALS`]; `is_code` knows the codes that there are.
///
/// # Errors
/// The first that is wrong.
pub fn refusals(texts: &mut Texts, is_code: impl Fn(&str) -> bool) -> Result<RefusalFilter, Wrong> {
    let unknown = || "there is no such code: see the list of codes in /openapi.yaml".to_owned();
    let known = |text: &str| if is_code(text) { Ok(text.to_owned()) } else { Err(unknown()) };
    let filter = RefusalFilter {
        user: texts.take("user")?,
        group: texts.take("group")?,
        cluster: texts.short_name("cluster")?,
        caller: texts.caller()?,
        own: None,
        on_behalf_of: texts.take("on_behalf_of")?,
        policy: texts.short_name("policy")?,
        code: texts.read("code", known)?,
        after: texts.time("after")?,
        before: texts.time("before")?,
    };
    in_order("", filter.after, filter.before)?;
    Ok(filter)
}

/// Reads the filters of [`EVENTS`].
///
/// # Errors
/// The first that is wrong.
pub fn events(texts: &mut Texts) -> Result<EventFilter, Wrong> {
    let filter = EventFilter {
        kind: texts.read("kind", kind)?,
        caller: texts.caller()?,
        after_time: texts.time("at_after")?,
        before_time: texts.time("at_before")?,
    };
    in_order("at", filter.after_time, filter.before_time)?;
    Ok(filter)
}

/// Filters of certificates and refusals together, for counting.
#[derive(Clone, Debug)]
pub struct Both {
    /// None where something is asked that no certificate has.
    pub certificates: Option<CertificateFilter>,
    /// None where something is asked that no refusal has.
    pub refusals: Option<RefusalFilter>,
}

impl Both {
    /// Whether a policy row is named.
    #[must_use]
    pub fn names_a_policy(&self) -> bool {
        self.certificates.as_ref().is_some_and(|filter| filter.policy.is_some())
            || self.refusals.as_ref().is_some_and(|filter| filter.policy.is_some())
    }
}

/// Reads filters of either kind; `after` and `before` are the time of the decision of both.
///
/// # Errors
/// The first that is wrong.
pub fn both(mut texts: Texts, now: Time, is_code: impl Fn(&str) -> bool) -> Result<Both, Wrong> {
    let mut others = texts.clone();
    let refusals = refusals(&mut others, is_code)?;
    others.take("code")?;
    let only_certificates = !others.0.is_empty();
    for (name, _) in &mut texts.0 {
        match name.as_str() {
            "after" => "issued_after".clone_into(name),
            "before" => "issued_before".clone_into(name),
            _ => {}
        }
    }
    let certificates = certificates(&mut texts, now)?;
    let only_refusals = refusals.code.is_some();
    Ok(Both {
        certificates: (!only_refusals).then_some(certificates),
        refusals: (!only_certificates).then_some(refusals),
    })
}

/// Reads `order` and the number named `after`: rows above it only, ascending unless `order` says
/// otherwise.
///
/// # Errors
/// One of them is wrong.
pub fn span(texts: &mut Texts, after: &str) -> Result<Span, Wrong> {
    let above = texts.read(after, number)?;
    let usual = if above.is_some() { Order::OldestFirst } else { Order::NewestFirst };
    let order = texts.read("order", order)?.unwrap_or(usual);
    Ok(Span { above: above.unwrap_or(0), ..Span::all(order, 0) })
}

/// Reads a serial in each form that it is seen in.
///
/// # Errors
/// What is no serial.
pub fn serial(text: &str) -> Result<Serial, String> {
    Serial::parse(text).ok_or_else(|| "written as 32 hex digits, with or without colons".to_owned())
}

/// `X509SHA256=` and 64 hex digits; the digits alone do too, with colons as openssl prints them.
///
/// # Errors
/// What is none.
pub fn credential_id(text: &str) -> Result<[u8; 32], String> {
    let digits = text.strip_prefix("X509SHA256=").unwrap_or(text).replace(':', "");
    let mut octets = [0; 32];
    hex::decode_to_slice(digits, &mut octets)
        .map_err(|_| "written as X509SHA256= and 64 hex digits".to_owned())?;
    Ok(octets)
}

fn status(text: &str, now: Time) -> Result<(CertificateStatus, Time), String> {
    match text {
        "active" => Ok((CertificateStatus::Active, now)),
        "expired" => Ok((CertificateStatus::Expired, now)),
        _ => Err("one of active, expired".to_owned()),
    }
}

/// curl sends a URL as it is typed, and the `+` of an offset in it is a space.
fn plus_hint(text: &str) -> &'static str {
    if text.contains(' ') { ": in a URL, write %2B for the + of an offset" } else { "" }
}

fn valid_between(texts: &mut Texts) -> Result<Option<(Time, Time)>, Wrong> {
    match (texts.time("valid_from")?, texts.time("valid_to")?) {
        (None, None) => Ok(None),
        (Some(from), Some(to)) if from <= to => Ok(Some((from, to))),
        (Some(_), Some(_)) => Err(Wrong("valid_to is before valid_from".to_owned())),
        _ => Err(Wrong("valid_from and valid_to go together; for one moment there is valid_at".to_owned())),
    }
}

fn in_order(what: &str, after: Option<Time>, before: Option<Time>) -> Result<(), Wrong> {
    match after.zip(before) {
        Some((after, before)) if after >= before => {
            let what = if what.is_empty() { String::new() } else { format!("{what}_") };
            Err(Wrong(format!("{what}before is not later than {what}after, so nothing can match")))
        }
        _ => Ok(()),
    }
}

fn kind(text: &str) -> Result<EventKind, String> {
    EventKind::parse(text)
        .ok_or_else(|| format!("one of {}", EventKind::ALL.map(EventKind::as_str).join(", ")))
}

fn order(text: &str) -> Result<Order, String> {
    match text {
        "asc" => Ok(Order::OldestFirst),
        "desc" => Ok(Order::NewestFirst),
        _ => Err("one of asc, desc".to_owned()),
    }
}

fn number(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(number) if number >= 0 && !text.starts_with(['+', '-']) => Ok(number),
        _ => Err("the number of a row, or 0 to begin with the first".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Own;

    const NOW: Time = Time::from_unix(7);

    fn texts(query: &str) -> Texts {
        let pairs =
            query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap());
        Texts::new(pairs.map(|(name, text)| (name.to_owned(), text.to_owned())))
    }

    fn why(query: &str) -> String {
        certificates(&mut texts(query), NOW).unwrap_err().0
    }

    #[test]
    fn every_filter_of_a_certificate_is_read() {
        let all = format!(
            "user=a&group=b&cluster=prod&caller=token:x&on_behalf_of=c&credential_id={}&policy=row&status=active\
             &issued_after=2026-06-01T00:00:00Z&issued_before=2026-06-02T00:00:00Z&expires_after=2026-06-01T00:00:00Z\
             &expires_before=2026-06-02T00:00:00Z&valid_at=2026-06-01T00:00:00Z&valid_from=2026-06-01T00:00:00Z\
             &valid_to=2026-06-01T00:00:00Z&serial={}",
            "ab".repeat(32),
            "4a".repeat(16),
        );
        let mut texts = texts(&all);
        assert_eq!(texts.0.len(), CERTIFICATES.len());
        let filter = certificates(&mut texts, NOW).unwrap();
        assert!(texts.0.is_empty(), "{texts:?}");
        assert_eq!(filter.sha256, Some([0xab; 32]));
        assert_eq!(filter.status, Some((CertificateStatus::Active, NOW)));
        // Whose they are is no filter that anybody asks for.
        let filter = CertificateFilter { own: Some(Own::of(Vec::new())), ..filter };
        assert!(!format!("{filter:?}").contains("None"), "{filter:?}");
    }

    #[test]
    fn every_filter_of_refusals_and_events_is_read() {
        let mut all = texts(
            "user=a&group=b&cluster=prod&caller=cli:root&on_behalf_of=c&policy=row&code=x\
             &after=2026-06-01T00:00:00Z&before=2026-06-02T00:00:00Z",
        );
        assert_eq!(all.0.len(), REFUSALS.len());
        let filter = refusals(&mut all, |code| code == "x").unwrap();
        let filter = RefusalFilter { own: Some(Own::of(Vec::new())), ..filter };
        assert!(!format!("{filter:?}").contains("None"), "{filter:?}");
        assert!(refusals(&mut texts("code=y"), |code| code == "x").is_err());
        let mut all = texts(
            "kind=key.blocked&caller=token:a&at_after=2026-06-01T00:00:00Z&at_before=2026-06-02T00:00:00Z",
        );
        assert_eq!(all.0.len(), EVENTS.len());
        assert!(!format!("{:?}", events(&mut all).unwrap()).contains("None"));
    }

    #[test]
    fn what_drifted_is_live() {
        let read = |query: &str| {
            let mut texts = texts(query);
            let filter = certificates(&mut texts, NOW).unwrap();
            drifted(&mut texts, &filter).map_err(|wrong| wrong.0)
        };
        assert_eq!(read("user=a"), Ok(false));
        assert_eq!(read("drifted=true&status=active"), Ok(true));
        for wrong in ["drifted=false", "drifted=", "drifted=yes", "drifted=true&status=expired"] {
            assert!(read(wrong).unwrap_err().contains("drifted"), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for query in [
            "user=",
            "cluster=PROD",
            "caller=alice",
            "caller=token:",
            "caller=cli:",
            "serial=xyz",
            "credential_id=abc",
            "status=revoked",
            "valid_at=June",
            "valid_from=2026-06-01T00:00:00Z",
            "valid_to=2026-06-01T00:00:00Z",
            "valid_from=2026-06-02T00:00:00Z&valid_to=2026-06-01T00:00:00Z",
            "issued_after=2026-06-01T00:00:00Z&issued_before=2026-06-01T00:00:00Z",
        ] {
            let name = query.split(['=', '_']).next().unwrap();
            assert!(why(query).contains(name), "{query}: {}", why(query));
        }
    }

    #[test]
    fn an_offset_whose_plus_became_a_space_is_explained() {
        assert!(why("valid_at=2026-06-01T09:00:00 02:00").contains("%2B"));
        assert!(!why("valid_at=June").contains("%2B"));
        assert!(certificates(&mut texts("valid_at=2026-06-01T09:00:00+02:00"), NOW).is_ok());
    }

    #[test]
    fn a_credential_id_is_read_in_each_form_that_it_is_seen_in() {
        let hex = "00ff".repeat(16);
        let expected: [u8; 32] = std::array::from_fn(|place| if place % 2 == 0 { 0 } else { 255 });
        for text in [format!("X509SHA256={hex}"), hex.clone(), hex.to_uppercase(), ["00:FF"; 16].join(":")] {
            assert_eq!(credential_id(&text).unwrap(), expected, "{text}");
        }
        for text in ["", "X509SHA256=", &hex[1..], &format!("{hex}00"), &"+1".repeat(32), &"é".repeat(32)] {
            assert!(credential_id(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_to_go_on_from_makes_the_list_ascend() {
        let span = |query: &str| span(&mut texts(query), "after").unwrap();
        assert_eq!((span("").above, span("").order), (0, Order::NewestFirst));
        assert_eq!((span("after=5").above, span("after=5").order), (5, Order::OldestFirst));
        assert_eq!(span("after=5&order=desc").order, Order::NewestFirst);
        assert_eq!(span("order=asc").order, Order::OldestFirst);
        for wrong in ["after=-1", "after=+1", "after=x", "order=up", "order="] {
            assert!(super::span(&mut texts(wrong), "after").is_err(), "{wrong}");
        }
    }
}

//! `GET /v1/certificates` and `/{serial}`: the ledger.

use std::sync::Arc;

use axum::extract::{Extension, Path, Request, State};
use axum::response::Response;

use super::accept;
use super::error::Problem;
use super::guard::Asker;
use super::issued::{Issued, LedgerBody};
use super::list::Query;
use super::parameters::{Parameters, invalid};
use super::wish::Rendering;
use crate::app::App;
use crate::pki::serial::Serial;
use crate::store::{CertificateFilter, CertificateStatus};
use crate::time::Time;

/// What the list takes.
pub const LIST_PARAMETERS: &[&str] = &[
    "user",
    "group",
    "cluster",
    "caller",
    "on_behalf_of",
    "serial",
    "credential_id",
    "policy",
    "status",
    "limit",
    "cursor",
];
/// What one certificate takes.
pub const ONE_PARAMETERS: &[&str] = &["cluster", "format", "key_path", "shape"];

/// Newest first: a requester's own, an auditor's all.
pub async fn list(
    State(app): State<Arc<App>>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    let mut query = Query::parse("/v1/certificates", request.uri().query(), LIST_PARAMETERS)?;
    let now = app.clock.now();
    let filter = filter(&mut query, now)?;
    let mut rows = app.certificates(&asker.principal, filter, query.page()).await?;
    let next = query.cut(&mut rows, |row| row.number);
    let items: Vec<_> = rows.iter().map(|row| LedgerBody::of(row, now)).collect();
    Ok(query.answer(&items, next.as_deref()))
}

/// One, as JSON, PEM or kubeconfig. 404 also for what belongs to another caller.
pub async fn one(
    State(app): State<Arc<App>>,
    Extension(asker): Extension<Asker>,
    Path(serial): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::parse(request.uri().query(), ONE_PARAMETERS)?;
    let cluster = parameters.take_filled("cluster")?;
    let format = parameters.take_filled("format")?;
    let key_path = parameters.take_filled("key_path")?;
    let shape = parameters.take_filled("shape")?;
    let rendering = Rendering::parse(format.as_deref(), key_path.as_deref(), shape.as_deref())?;
    let offer = accept::certificate(rendering.form, request.headers())?;
    let serial = read_serial(&serial)?;
    let recorded = app.certificate(&asker.principal, serial, cluster.as_deref()).await?;
    Issued::new(&app, &recorded).detailed(&rendering, offer)
}

fn filter(query: &mut Query, now: Time) -> Result<CertificateFilter, Problem> {
    Ok(CertificateFilter {
        user: query.text("user")?,
        group: query.text("group")?,
        cluster: query.short_name("cluster")?,
        caller: query.caller()?,
        on_behalf_of: query.text("on_behalf_of")?,
        serial: query.text("serial")?.as_deref().map(read_serial).transpose()?,
        sha256: query.text("credential_id")?.as_deref().map(credential_id).transpose()?,
        policy: query.short_name("policy")?,
        status: query.text("status")?.as_deref().map(|text| status(text, now)).transpose()?,
    })
}

fn read_serial(text: &str) -> Result<Serial, Problem> {
    Serial::parse(text).ok_or_else(|| invalid("the serial is not 32 hex digits, with or without colons"))
}

/// `X509SHA256=` and 64 hex digits; the digits alone do too, with colons as openssl prints them.
fn credential_id(text: &str) -> Result<[u8; 32], Problem> {
    let wrong = || invalid("credential_id is X509SHA256= and 64 hex digits");
    let digits = text.strip_prefix("X509SHA256=").unwrap_or(text).replace(':', "");
    let mut octets = [0; 32];
    hex::decode_to_slice(digits, &mut octets).map_err(|_| wrong())?;
    Ok(octets)
}

fn status(text: &str, now: Time) -> Result<(CertificateStatus, Time), Problem> {
    match text {
        "active" => Ok((CertificateStatus::Active, now)),
        "expired" => Ok((CertificateStatus::Expired, now)),
        _ => Err(invalid("status is one of active, expired")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn every_filter_is_read() {
        let all = format!(
            "user=a&group=b&cluster=prod&caller=token:x&on_behalf_of=c&credential_id={}&policy=row&status=active",
            "ab".repeat(32)
        );
        let mut query = Query::parse("/v1/certificates", Some(&all), LIST_PARAMETERS).unwrap();
        let filter = filter(&mut query, Time::from_unix(7)).unwrap();
        assert_eq!(filter.user.as_deref(), Some("a"));
        assert_eq!(filter.group.as_deref(), Some("b"));
        assert_eq!(filter.caller.as_deref(), Some("token:x"));
        assert_eq!(filter.on_behalf_of.as_deref(), Some("c"));
        assert_eq!(filter.sha256, Some([0xab; 32]));
        assert_eq!(filter.status, Some((CertificateStatus::Active, Time::from_unix(7))));
        assert!(status("revoked", Time::from_unix(0)).is_err());
    }
}

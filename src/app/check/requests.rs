//! Every held request: what was approved against the CSR that is kept, and against the certificate
//! that came of it.

use aws_lc_rs::digest::{SHA256, digest};

use crate::pki::csr::CertRequest;
use crate::pki::name::Name;
use crate::store::{HeldRequest, Order, Recorded, RequestFilter, Span, Store, StoreError};
use crate::time::Time;

use super::Report;
use super::authorities::Context;

const PAGE: u32 = 256;

/// Judges every held request up to `until`, as it stands at `now`.
pub(super) async fn check(
    store: &Store,
    context: &Context,
    until: i64,
    now: Time,
    report: &mut Report<'_>,
) -> Result<(), StoreError> {
    let mut span = Span { below: until.saturating_add(1), ..Span::all(Order::OldestFirst, PAGE) };
    loop {
        let page = store.requests(&RequestFilter::default(), span, now).await?;
        let Some(last) = page.last() else { return Ok(()) };
        span = span.behind(last.number);
        for request in &page {
            let about = format!("request {}", request.id);
            let certificate = match request.certificate {
                Some(number) => store.certificate(number).await?,
                None => None,
            };
            let collector = certificate.as_ref().map(|found| found.origin.caller.as_str());
            let asked = request.origin.caller.as_str();
            // An issuer may have given the same subject another name meanwhile.
            if let Some(collector) = collector.filter(|collector| *collector != asked)
                && !store.had_both(asked, collector).await?
            {
                report.wrong(&about, format!("{asked} asked for it and {collector} has its certificate"));
            }
            for flaw in judge(request, certificate.as_ref(), context) {
                report.wrong(&about, flaw);
            }
        }
        report.reached(span.above);
    }
}

/// A certificate may have been pruned; its request stays.
fn judge(request: &HeldRequest, certificate: Option<&Recorded>, context: &Context) -> Vec<String> {
    let mut flaws: Vec<String> = Vec::new();
    if let Some(csr) = &request.csr {
        flaws.extend(judge_csr(request, csr).map(str::to_owned));
    }
    if let Some(certificate) = certificate {
        flaws.extend(judge_certificate(request, certificate).map(str::to_owned));
    }
    let reviews = request.reviews.iter().map(|row| row.name.to_string());
    let rows: Vec<String> = request.policies.iter().cloned().chain(reviews).collect();
    flaws.extend(context.policy_flaws(request.policy_revision, &rows));
    if request.reviews.is_empty() {
        flaws.push("no review row is named that held it".to_owned());
    }
    flaws
}

fn judge_csr(request: &HeldRequest, csr: &[u8]) -> Option<&'static str> {
    if digest(&SHA256, csr).as_ref() != request.csr_sha256 {
        return Some("the CSR that is kept is not the one that was shown");
    }
    let Ok(asked) = CertRequest::parse(csr) else { return Some("what is kept as its CSR is none") };
    let same = asked.user().as_str() == request.user
        && asked.groups().iter().map(Name::as_str).eq(request.groups.iter().map(String::as_str))
        && asked.key().spki_sha256() == request.spki_sha256;
    (!same).then_some("its CSR asks for other names or another key than its row says")
}

fn judge_certificate(request: &HeldRequest, certificate: &Recorded) -> Option<&'static str> {
    let same = certificate.user == request.user
        && certificate.groups == request.groups
        && certificate.spki_sha256 == request.spki_sha256
        && certificate.cluster == request.cluster
        && certificate.authority == request.authority
        && certificate.on_behalf_of == request.on_behalf_of;
    if !same {
        return Some("its certificate is not what was approved");
    }
    let lived = certificate.not_after.seconds_since(certificate.issued_at);
    (lived > i64::from(request.lifetime.seconds()))
        .then_some("its certificate lives longer than was approved")
}

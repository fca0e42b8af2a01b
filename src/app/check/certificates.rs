//! Every column of a certificate's row, derived anew from the certificate.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::num::NonZero;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::ca::stored::StoredCertificate as Certificate;
use crate::store::inspection::{Inspected, StoredCertificate};
use crate::store::{Store, StoreError};

use super::Report;
use super::authorities::{Authority, Context};

/// How many rows are judged together on one thread.
const PAGE: u32 = 512;

/// What was found about one row, under its serial.
type Judged = Vec<(String, String)>;

/// Judges every certificate up to `until`, on as many threads as there are processors, and counts
/// them by CA.
pub(super) async fn check(
    store: &Store,
    context: &Arc<Context>,
    until: i64,
    report: &mut Report<'_>,
) -> Result<HashMap<i64, u64>, StoreError> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut under_way: VecDeque<JoinHandle<Judged>> = VecDeque::new();
    let (mut after, mut of_authority) = (0, HashMap::new());
    loop {
        let page = store.inspect_certificates(after, until, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.number;
        for one in &page {
            report.summary.certificates = report.summary.certificates.saturating_add(1);
            if let Ok(row) = &one.row {
                let count: &mut u64 = of_authority.entry(row.authority_id).or_default();
                *count = count.saturating_add(1);
            }
        }
        let context = Arc::clone(context);
        under_way.push_back(tokio::task::spawn_blocking(move || judge_page(&page, &context)));
        if under_way.len() > threads {
            finish(under_way.pop_front(), report).await?;
        }
        report.reached(after);
    }
    while let Some(judging) = under_way.pop_front() {
        finish(Some(judging), report).await?;
    }
    Ok(of_authority)
}

async fn finish(judging: Option<JoinHandle<Judged>>, report: &mut Report<'_>) -> Result<(), StoreError> {
    let Some(judging) = judging else { return Ok(()) };
    let judged =
        judging.await.map_err(|error| StoreError::Unavailable(format!("judging broke off: {error}")))?;
    for (serial, text) in judged {
        report.wrong(serial, text);
    }
    Ok(())
}

fn judge_page(page: &[Inspected<StoredCertificate>], context: &Context) -> Judged {
    let mut judged = Vec::new();
    for one in page {
        match &one.row {
            Ok(row) => {
                let serial = hex::encode(&row.serial);
                judged.extend(judge(row, context).into_iter().map(|text| (serial.clone(), text)));
            }
            Err(error) => judged.push((format!("number {}", one.number), error.to_string())),
        }
    }
    judged
}

/// Everything that is wrong with one row.
pub(super) fn judge(row: &StoredCertificate, context: &Context) -> Vec<String> {
    let mut flaws = Flaws::default();
    let authority = context.authorities.get(&row.authority_id);
    match Certificate::read(&row.der) {
        Some(certificate) => {
            judge_columns(row, &certificate, &mut flaws);
            judge_chain(&certificate, authority, &mut flaws);
        }
        None => flaws.add("what is stored as its certificate is none"),
    }
    judge_binding(row, authority, context, &mut flaws);
    judge_event(row, authority, &mut flaws);
    judge_key_owner(row, &mut flaws);
    flaws.0.extend(context.lists.flaws(row.groups_id, "group"));
    flaws.0.extend(context.lists.flaws(row.policies_id, "policy"));
    flaws.0.extend(context.policy_flaws(row.policy_revision, &row.policies));
    if row.policies.is_empty() {
        flaws.add("no policy is named that allowed it");
    }
    flaws.0
}

/// What the certificate itself says.
fn judge_columns(row: &StoredCertificate, certificate: &Certificate<'_>, flaws: &mut Flaws) {
    let hexed = |octets: &[u8]| hex::encode(octets);
    flaws.compare("serial", &hexed(&row.serial), &hexed(certificate.serial()));
    flaws.compare("not_before", &row.not_before, &certificate.not_before());
    flaws.compare("not_after", &row.not_after, &certificate.not_after());
    flaws.compare("spki_sha256", &hexed(&row.spki_sha256), &hexed(&certificate.spki_sha256()));
    flaws.compare("key_kind", row.key_kind.as_str(), certificate.key_kind().unwrap_or("of no accepted kind"));
    let head = certificate.sha256().first_chunk().map_or(0, |head| i64::from_be_bytes(*head));
    flaws.compare("sha256_head", &row.sha256_head, &head);
    match certificate.names() {
        Some((user, groups)) => {
            flaws.compare("user", &quoted(&row.user), &quoted(&user));
            flaws.compare("groups", &list(&row.groups), &list(&groups));
        }
        None => flaws.add("its subject is not one user name and groups"),
    }
}

/// Who signed it, and whether it is what that CA issues here.
fn judge_chain(certificate: &Certificate<'_>, authority: Option<&Authority>, flaws: &mut Flaws) {
    let Some(authority) = authority else { return flaws.add("the CA of its row is not in the ledger") };
    // All have one key. Where none could be read, that was said once.
    let Some(first) = authority.certificates.first() else { return };
    if !certificate.is_signed_by(first) {
        return flaws.add(format!("it was not signed by the CA of its row, {}", first.subject()));
    }
    let under = authority.certificates.iter().map(|ca| certificate.flaw_under(ca));
    // The latest certificate of the CA is the last one, and the most likely to be meant.
    if let Some(Some(flaw)) =
        under.reduce(|one, other| if one.is_none() || other.is_none() { None } else { other })
    {
        flaws.add(flaw);
    }
}

/// Which CA may sign for which cluster.
fn judge_binding(
    row: &StoredCertificate,
    authority: Option<&Authority>,
    context: &Context,
    flaws: &mut Flaws,
) {
    match &row.cluster {
        None => flaws.add("the name of its cluster is not there"),
        Some(cluster) if !context.cluster_authorities.contains(&(row.cluster_id, row.authority_id)) => {
            flaws.add(format!("its CA never signed for the cluster `{cluster}`"));
        }
        Some(_) => {}
    }
    let only = context.only_authority;
    if only.is_some_and(|only| authority.is_some_and(|authority| authority.spki_sha256 != only)) {
        flaws.add("this database takes another CA only");
    }
}

/// How much earlier than the decision a certificate begins, in seconds.
const EARLIER: i64 = 300;

/// The number of `certificate.issued`.
const ISSUED: i64 = 1;

/// The event of the same number: that a certificate was issued, by this caller, at a time that the
/// certificate bears out.
fn judge_event(row: &StoredCertificate, authority: Option<&Authority>, flaws: &mut Flaws) {
    let Some(event) = &row.event else { return flaws.add("its event in the audit log is not there") };
    if event.kind != ISSUED {
        flaws.add("the event of its number is not that a certificate was issued");
    }
    if event.caller_id != row.caller_id {
        flaws.add("its caller is not the one in the audit log");
    }
    let begins = authority.map(|authority| authority.begins.as_slice()).unwrap_or_default();
    // A certificate begins five minutes before the decision, unless its CA begins later.
    let cut = begins.contains(&row.not_before) && row.not_before > event.at.before(EARLIER);
    if row.not_before != event.at.before(EARLIER) && !(cut && row.not_before <= event.at) {
        flaws.add(format!(
            "the audit log says that it was issued at {}, it begins at {}",
            event.at, row.not_before
        ));
    }
    let lived = row.not_after.seconds_since(event.at);
    if row.asked_ttl.is_some_and(|asked| lived > asked) {
        flaws.add("it lives longer than was asked for");
    }
}

fn judge_key_owner(row: &StoredCertificate, flaws: &mut Flaws) {
    match &row.key_owner {
        None => flaws.add("no user is noted for its key"),
        Some(owner) if *owner != row.user => {
            flaws.add(format!("its key is noted for the user {}", quoted(owner)));
        }
        Some(owner) if row.noted_owner.as_ref().is_some_and(|noted| noted != owner) => {
            flaws.add("two users are noted for its key");
        }
        Some(_) if row.owner_is_later => {
            flaws.add("a later certificate is noted as the first one of its key");
        }
        Some(_) => {}
    }
}

#[derive(Default)]
struct Flaws(Vec<String>);

impl Flaws {
    fn add(&mut self, text: impl Into<String>) {
        self.0.push(text.into());
    }

    fn compare<T: PartialEq + Display + ?Sized>(&mut self, column: &str, stored: &T, said: &T) {
        if stored != said {
            self.add(format!("{column} is {stored}, the certificate says {said}"));
        }
    }
}

/// One line, whatever is in the name.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.escape_debug())
}

fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    format!("[{}]", names.join(", "))
}

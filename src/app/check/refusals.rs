//! Every refusal, against its event and what finds it.

use crate::store::inspection::StoredRefusal;
use crate::store::{Store, StoreError};

use super::Report;
use super::authorities::Context;

const PAGE: u32 = 512;

/// The number of `request.refused`.
const REFUSED: i64 = 2;

/// Judges every refusal up to `until`.
pub(super) async fn check(
    store: &Store,
    context: &Context,
    until: i64,
    report: &mut Report<'_>,
) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let page = store.inspect_refusals(after, until, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.number;
        for one in &page {
            report.summary.refusals = report.summary.refusals.saturating_add(1);
            let about = format!("refusal {}", one.number);
            match &one.row {
                Ok(row) => judge(row, context).into_iter().for_each(|text| report.wrong(&about, text)),
                Err(error) => report.wrong(about, error.to_string()),
            }
        }
        report.reached(after);
    }
}

fn judge(row: &StoredRefusal, context: &Context) -> Vec<String> {
    let mut flaws = Vec::new();
    match &row.event {
        None => flaws.push("its event in the audit log is not there".to_owned()),
        Some(event) => {
            if event.kind != REFUSED {
                flaws.push("the event of its number is not that a request was refused".to_owned());
            }
            if event.caller_id != row.caller_id {
                flaws.push("its caller is not the one in the audit log".to_owned());
            }
        }
    }
    if row.code.is_empty() {
        flaws.push("it has no code".to_owned());
    }
    flaws.extend(context.lists.flaws(row.groups_id, "group"));
    flaws.extend(context.lists.flaws(row.policies_id, "policy"));
    flaws.extend(context.policy_flaws(row.policy_revision, &row.policies));
    flaws
}

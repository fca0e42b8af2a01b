//! The ledger, part after part. A part that cannot be read is told, and the next one begins.

use std::sync::Arc;

use crate::ca::stored::KnownCa;
use crate::store::inspection::Overview;
use crate::store::{Store, StoreError};
use crate::time::Time;

use super::authorities::{Context, check_counters, check_policies};
use super::lists::{self, MisfiledLists};
use super::{Report, certificates, events, refusals, requests};
use crate::app::CLOCK_TOLERANCE;

/// Checks all of it; `configured` are the CAs of the configured clusters.
pub async fn ledger(store: &Store, configured: Vec<(KnownCa, Time)>, now: Time, report: &mut Report<'_>) {
    match store.health().await {
        Ok(health) if health.clock_is_off(now, CLOCK_TOLERANCE) => {
            let text =
                format!("this machine's clock reads {now}, over a minute off the database's: set the clocks");
            report.wrong("clock", text);
        }
        Ok(_) => {}
        Err(error) => report.wrong("database", error.to_string()),
    }
    report.part("the database's own check", None);
    match store.integrity().await {
        Ok(problems) => problems.into_iter().for_each(|problem| report.wrong("database", problem)),
        Err(error) => report.wrong("database", error.to_string()),
    }
    match store.inspect_overview().await {
        Ok(overview) => records(store, &overview, configured, now, report).await,
        Err(error) => report.wrong("database", error.to_string()),
    }
}

async fn records(
    store: &Store,
    overview: &Overview,
    configured: Vec<(KnownCa, Time)>,
    now: Time,
    report: &mut Report<'_>,
) {
    check_clock(overview, now, report);
    check_policies(overview, report);
    check_counters(overview, report);
    report.part("lists of groups and policies", None);
    let lists = lists::check(store, report).await.unwrap_or_else(|error| {
        report.wrong("lists", error.to_string());
        MisfiledLists::default()
    });
    let context = Arc::new(Context::new(overview, configured, lists, report));
    let until = overview.number;

    report.part("certificates", Some(until));
    match certificates::check(store, &context, until, report).await {
        Ok(counts) => note_old_authorities(&context, &counts, report),
        Err(error) => report.wrong("certificates", error.to_string()),
    }
    report.part("refusals", Some(until));
    let checked = refusals::check(store, &context, until, report).await;
    told(checked, "refusals", report);
    report.part("held requests", Some(until));
    let checked = requests::check(store, &context, until, now, report).await;
    told(checked, "requests", report);
    report.part("the audit log", Some(until));
    let checked = audit_log(store, overview, report).await;
    told(checked, "events", report);
}

async fn audit_log(store: &Store, overview: &Overview, report: &mut Report<'_>) -> Result<(), StoreError> {
    let found = events::check(store, overview.number, report).await?;
    if found.is_whole && found.newest_at != overview.newest_at {
        let said = |at: Option<Time>| at.map_or("nothing".to_owned(), |at| at.to_string());
        report.wrong(
            "state",
            format!(
                "newest_at is {}, the audit log says {}",
                said(overview.newest_at),
                said(found.newest_at)
            ),
        );
    }
    events::check_missing(&found, &store.inspect_pruned().await?, report);
    Ok(())
}

fn told(checked: Result<(), StoreError>, part: &str, report: &mut Report<'_>) {
    if let Err(error) = checked {
        report.wrong(part, error.to_string());
    }
}

fn check_clock(overview: &Overview, now: Time, report: &mut Report<'_>) {
    if let Some(newest) = overview.newest_at
        && newest.seconds_since(now) > CLOCK_TOLERANCE
    {
        report.wrong(
            "clock",
            format!(
                "this machine's clock reads {now}, behind the newest record of {newest}: set the clock, or if a \
                 clock stood in the future run `countersign clock accept`"
            ),
        );
    }
}

fn note_old_authorities(
    context: &Context,
    counts: &std::collections::HashMap<i64, u64>,
    report: &mut Report<'_>,
) {
    for (id, authority) in context.authorities.iter().filter(|(_, authority)| !authority.is_configured) {
        let count = counts.get(id).copied().unwrap_or_default();
        let subject = authority.certificates.first().map_or("?", KnownCa::subject).to_owned();
        let text = format!("{count} certificates are of this CA, which no configured cluster has");
        report.note(format!("CA {subject}"), text);
    }
}

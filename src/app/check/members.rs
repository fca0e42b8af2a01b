//! The rows by which filters find records: each is of a record that lists its name.

use crate::store::inspection::{MemberTable, StoredMember};
use crate::store::{Store, StoreError};

use super::Report;
use super::certificates::quoted;

const PAGE: u32 = 4_096;

/// Judges every member of `table` whose record has a number up to `until`.
pub(super) async fn check(
    store: &Store,
    table: MemberTable,
    until: i64,
    report: &mut Report<'_>,
) -> Result<(), StoreError> {
    let mut after = (i64::MIN, 0);
    loop {
        let page = store.inspect_members(table, after, until, PAGE).await?;
        if page.is_empty() {
            return Ok(());
        }
        for one in page {
            let member = one.row?;
            after = (member.name_id, one.number);
            if let Some(flaw) = flaw(table, &member) {
                let about = member.serial.map_or_else(|| format!("number {}", one.number), hex::encode);
                report.wrong(about, flaw);
            }
        }
    }
}

fn flaw(table: MemberTable, member: &StoredMember) -> Option<String> {
    let table = table.as_str();
    let Some(name) = &member.name else {
        return Some(format!("{table} speaks of a name that is not there"));
    };
    match &member.listed {
        None => Some(format!("{table} says {}, and there is no such record", quoted(name))),
        Some(listed) if !listed.contains(name) => {
            Some(format!("{table} says {}, its own list does not", quoted(name)))
        }
        Some(_) => None,
    }
}

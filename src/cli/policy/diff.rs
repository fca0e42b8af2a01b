//! `countersign policy diff`.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::read_file;
use crate::policy::Difference;
use crate::store::Store;

/// Prints a line for each row that differs; an error where one does, for the exit status.
pub(super) async fn run(store: &Store, file: &Path) -> Result<()> {
    let (name, rows) = read_file(file)?;
    let (revision, old) = store.policies(None).await?.context("the ledger has no policy set")?;
    let difference = Difference::between(&old, &rows);
    if difference.is_empty() {
        eprintln!("{name} is what holds, revision {revision}");
        return Ok(());
    }
    for line in lines(&difference) {
        println!("{line}");
    }
    bail!("{name} differs from revision {revision}");
}

/// A line for each row that is added or removed and for each field that changes, apart by tabs.
pub(super) fn lines(difference: &Difference) -> Vec<String> {
    let added = difference.added.iter().map(|row| format!("added\t{}", row.name));
    let removed = difference.removed.iter().map(|row| format!("removed\t{}", row.name));
    let changed = difference.changed.iter().flat_map(|changed| {
        let line = |(field, old, new)| format!("changed\t{}\t{field}\t{old} -> {new}", changed.new.name);
        changed.fields().into_iter().map(line)
    });
    added.chain(changed).chain(removed).collect()
}

//! Lists of names, and whether filters find what has them.

use std::collections::{BTreeSet, HashMap};

use aws_lc_rs::digest::{SHA256, digest};

use crate::store::inspection::StoredList;
use crate::store::{Store, StoreError};

use super::Report;
use super::certificates::quoted;

const PAGE: u32 = 512;

/// Names of one list that filters are wrong about.
#[derive(Debug, Default)]
struct Misfiled {
    /// They are in the list, and a filter by them does not find its records.
    not_found: Vec<String>,
    /// They are not in the list, and a filter by them finds its records.
    not_listed: Vec<String>,
}

/// The lists that filters are wrong about, by number.
#[derive(Debug, Default)]
pub(super) struct MisfiledLists(HashMap<i64, Misfiled>);

impl MisfiledLists {
    /// What is wrong with a record that has the list `id` of `what`: `group` or `policy`.
    pub(super) fn flaws(&self, id: i64, what: &'static str) -> impl Iterator<Item = String> {
        let misfiled = self.0.get(&id);
        let not_found = misfiled.map_or(&[][..], |list| &list.not_found);
        let not_listed = misfiled.map_or(&[][..], |list| &list.not_listed);
        let not_found = not_found
            .iter()
            .map(move |name| format!("a filter by the {what} {} does not find it", quoted(name)));
        let not_listed = not_listed.iter().map(move |name| {
            format!("a filter by the {what} {} finds it, its own list does not say so", quoted(name))
        });
        not_found.chain(not_listed)
    }
}

/// Judges every list.
pub(super) async fn check(store: &Store, report: &mut Report<'_>) -> Result<MisfiledLists, StoreError> {
    let (mut after, mut misfiled) = (i64::MIN, HashMap::new());
    loop {
        let page = store.inspect_lists(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for list in page {
            let (flaws, wrongly) = judge(&list);
            for flaw in flaws {
                report.wrong(format!("list {}", list.id), flaw);
            }
            if !wrongly.not_found.is_empty() || !wrongly.not_listed.is_empty() {
                misfiled.insert(list.id, wrongly);
            }
        }
    }
    for id in store.inspect_members_of_no_list().await? {
        report.wrong(format!("list {id}"), "it has members and is not there");
    }
    Ok(MisfiledLists(misfiled))
}

fn judge(list: &StoredList) -> (Vec<String>, Misfiled) {
    let (mut flaws, mut misfiled) = (Vec::new(), Misfiled::default());
    if digest(&SHA256, list.json.as_bytes()).as_ref() != list.sha256 {
        flaws.push("its sha256 is not that of its names".to_owned());
    }
    if list.members.iter().any(Option::is_none) {
        flaws.push("it has a member whose name is not there".to_owned());
    }
    let Ok(names) = serde_json::from_str::<BTreeSet<String>>(&list.json) else {
        flaws.push("its names are no list".to_owned());
        return (flaws, misfiled);
    };
    let members: BTreeSet<&String> = list.members.iter().flatten().collect();
    misfiled.not_found = names.iter().filter(|name| !members.contains(name)).cloned().collect();
    misfiled.not_listed = members.into_iter().filter(|name| !names.contains(*name)).cloned().collect();
    for name in &misfiled.not_found {
        flaws.push(format!("a filter by {} does not find its records", quoted(name)));
    }
    for name in &misfiled.not_listed {
        flaws.push(format!("a filter by {} finds its records, and it does not say so", quoted(name)));
    }
    (flaws, misfiled)
}

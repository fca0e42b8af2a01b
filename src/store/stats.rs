//! Counts for charts, from the same filters as the lists.
//!
//! With no filter each count reads one index and no row. With filters it walks the sparsest path
//! that the lists would take, to its end. Groups and policies are counted by their whole lists,
//! which are few, and spread afterwards.

use std::collections::BTreeMap;

use super::cells::Cells;
use super::connection::Connection;
use super::events::kind_number;
use super::row::Row;
use super::search::Search;
use super::statement::Statement;
use super::{CertificateFilter, Order, RefusalFilter, Span, StoreError};
use crate::audit::EventKind;
use crate::time::Time;

/// By what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The day of the decision, in UTC.
    Day,
    /// The day of notAfter, in UTC; of certificates only.
    ExpiryDay,
    /// The cluster.
    Cluster,
    /// Each of the groups: a record counts once for every one.
    Group,
    /// Who asked.
    Caller,
    /// Each of the deciding rows.
    Policy,
    /// `issued`, or the code of the refusal.
    Outcome,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Day, Self::ExpiryDay, Self::Cluster, Self::Group, Self::Caller, Self::Policy, Self::Outcome];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::ExpiryDay => "expiry_day",
            Self::Cluster => "cluster",
            Self::Group => "group",
            Self::Caller => "caller",
            Self::Policy => "policy",
            Self::Outcome => "outcome",
        }
    }

    /// The one that is written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.as_str() == text)
    }
}

/// How many records, by what they have in common; none: what has none of it.
pub type Counts = BTreeMap<Option<String>, i64>;

/// What a bare number of a count stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Name,
    List,
    Day,
    Text,
}

/// One way to count: the statement's words without filters, those around the numbers that match,
/// and the end.
struct Way {
    whole: &'static str,
    of_numbers: &'static str,
    group: &'static str,
    meaning: Meaning,
}

impl super::Store {
    /// Counts the certificates that match.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn count_certificates(&self, filter: &CertificateFilter, by: By) -> Result<Counts, StoreError> {
        let filter = filter.clone();
        self.survey(move |connection| {
            Box::pin(async move {
                let search = filter.timed_search(connection).await?;
                count(connection, &search, &certificate_way(by)).await
            })
        })
        .await
    }

    /// Counts the refusals that match. By the day of expiry there are none.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn count_refusals(&self, filter: &RefusalFilter, by: By) -> Result<Counts, StoreError> {
        let Some(way) = refusal_way(by) else { return Ok(Counts::new()) };
        let filter = filter.clone();
        self.survey(move |connection| {
            Box::pin(async move {
                let search = filter.timed_search(connection).await?;
                count(connection, &search, &way).await
            })
        })
        .await
    }
}

async fn count(connection: &mut Connection, search: &Search<'_>, way: &Way) -> Result<Counts, StoreError> {
    let everything = Span::all(Order::NewestFirst, u32::MAX);
    let mut select = Statement::new("");
    if search.is_everything() && !(way.meaning == Meaning::Day && was_pruned(connection).await?) {
        select.push(way.whole);
    } else {
        let path = search.path(&mut *connection, everything).await?;
        select.push(way.of_numbers).push(" FROM (");
        search.push_all_numbers(&mut select, path, everything);
        select.push(way.group);
    }
    let rows = select.all(&mut *connection).await?;
    named(connection, &rows, way.meaning).await
}

/// Whether there are events of records that are gone.
async fn was_pruned(connection: &mut Connection) -> Result<bool, StoreError> {
    let mut select = Statement::new("SELECT number FROM events WHERE kind > 1 AND kind = ");
    select.bind(kind_number(EventKind::LedgerPruned)).push(" LIMIT 1");
    Ok(select.optional(connection).await?.is_some())
}

/// Puts words in the place of numbers.
async fn named(connection: &mut Connection, rows: &[Row], meaning: Meaning) -> Result<Counts, StoreError> {
    let mut counts = Counts::new();
    let mut add = |key: Option<String>, found: i64| {
        let count = counts.entry(key).or_insert(0);
        *count = count.saturating_add(found);
    };
    let ids = ids(rows, meaning)?;
    let words = words(connection, &ids, meaning).await?;
    for row in rows {
        let cells = Cells::new(row, "counts", "found");
        let found = cells.integer("found")?;
        match meaning {
            Meaning::Text => add(cells.optional_text("label")?, found),
            Meaning::Day => add(cells.optional_integer("label")?.map(day), found),
            Meaning::Name | Meaning::List => match cells.optional_integer("label")? {
                None => add(None, found),
                Some(id) => match words.get(&id).map(Vec::as_slice).unwrap_or_default() {
                    [] => add(None, found),
                    words => words.iter().for_each(|word| add(Some(word.clone()), found)),
                },
            },
        }
    }
    Ok(counts)
}

/// What the numbers of names and lists stand for.
async fn words(
    connection: &mut Connection,
    ids: &[i64],
    meaning: Meaning,
) -> Result<BTreeMap<i64, Vec<String>>, StoreError> {
    let mut words = BTreeMap::new();
    for chunk in super::statement::chunks(ids) {
        let (table, text) = match meaning {
            Meaning::List => ("name_lists", "SELECT id, names AS word FROM name_lists WHERE id IN ("),
            _ => ("names", "SELECT id, name AS word FROM names WHERE id IN ("),
        };
        let mut select = Statement::new(text);
        select.list(chunk.iter().map(|id| (*id).into())).push(")");
        for row in select.all(&mut *connection).await? {
            let cells = Cells::new(&row, table, "id");
            let named =
                if meaning == Meaning::List { cells.json("word")? } else { vec![cells.text("word")?] };
            words.insert(cells.integer("id")?, named);
        }
    }
    Ok(words)
}

fn ids(rows: &[Row], meaning: Meaning) -> Result<Vec<i64>, StoreError> {
    if !matches!(meaning, Meaning::Name | Meaning::List) {
        return Ok(Vec::new());
    }
    let id = |row| Cells::new(row, "counts", "found").optional_integer("label");
    rows.iter().map(id).filter_map(Result::transpose).collect()
}

/// `2026-06-01` of a number of days since 1970.
fn day(days: i64) -> String {
    Time::from_unix(days.saturating_mul(86_400)).to_string().chars().take(10).collect()
}

fn certificate_way(by: By) -> Way {
    const OF: &str = ") k CROSS JOIN certificates c WHERE c.number = k.number GROUP BY 1";
    match by {
        By::Day => Way {
            whole: "SELECT at / 86400 AS label, count(*) AS found FROM events WHERE kind = 1 GROUP BY 1",
            of_numbers: "SELECT e.at / 86400 AS label, count(*) AS found",
            group: ") k CROSS JOIN events e WHERE e.number = k.number GROUP BY 1",
            meaning: Meaning::Day,
        },
        By::ExpiryDay => Way {
            whole: "SELECT not_after / 86400 AS label, count(*) AS found FROM certificates GROUP BY 1",
            of_numbers: "SELECT c.not_after / 86400 AS label, count(*) AS found",
            group: OF,
            meaning: Meaning::Day,
        },
        By::Cluster => Way {
            whole: "SELECT cluster_id AS label, count(*) AS found FROM certificates GROUP BY cluster_id",
            of_numbers: "SELECT c.cluster_id AS label, count(*) AS found",
            group: OF,
            meaning: Meaning::Name,
        },
        By::Caller => Way {
            whole: "SELECT caller_id AS label, count(*) AS found FROM certificates GROUP BY caller_id",
            of_numbers: "SELECT c.caller_id AS label, count(*) AS found",
            group: OF,
            meaning: Meaning::Name,
        },
        By::Group => Way {
            whole: "SELECT groups_id AS label, count(*) AS found FROM certificates GROUP BY groups_id",
            of_numbers: "SELECT c.groups_id AS label, count(*) AS found",
            group: OF,
            meaning: Meaning::List,
        },
        By::Policy => Way {
            whole: "SELECT policies_id AS label, count(*) AS found FROM certificates GROUP BY policies_id",
            of_numbers: "SELECT c.policies_id AS label, count(*) AS found",
            group: OF,
            meaning: Meaning::List,
        },
        By::Outcome => Way {
            whole: "SELECT 'issued' AS label, count(*) AS found FROM certificates",
            of_numbers: "SELECT 'issued' AS label, count(*) AS found",
            group: ") k",
            meaning: Meaning::Text,
        },
    }
}

fn refusal_way(by: By) -> Option<Way> {
    const OF: &str = ") k CROSS JOIN refusals c WHERE c.number = k.number GROUP BY 1";
    let (whole, of_numbers, meaning) = match by {
        By::ExpiryDay => return None,
        By::Day => {
            return Some(Way {
                whole: "SELECT at / 86400 AS label, count(*) AS found FROM events WHERE kind = 2 GROUP BY 1",
                of_numbers: "SELECT e.at / 86400 AS label, count(*) AS found",
                group: ") k CROSS JOIN events e WHERE e.number = k.number GROUP BY 1",
                meaning: Meaning::Day,
            });
        }
        By::Cluster => (
            "SELECT cluster_id AS label, count(*) AS found FROM refusals GROUP BY cluster_id",
            "SELECT c.cluster_id AS label, count(*) AS found",
            Meaning::Name,
        ),
        By::Caller => (
            "SELECT caller_id AS label, count(*) AS found FROM refusals GROUP BY caller_id",
            "SELECT c.caller_id AS label, count(*) AS found",
            Meaning::Name,
        ),
        By::Group => (
            "SELECT groups_id AS label, count(*) AS found FROM refusals GROUP BY groups_id",
            "SELECT c.groups_id AS label, count(*) AS found",
            Meaning::List,
        ),
        By::Policy => (
            "SELECT policies_id AS label, count(*) AS found FROM refusals GROUP BY policies_id",
            "SELECT c.policies_id AS label, count(*) AS found",
            Meaning::List,
        ),
        By::Outcome => (
            "SELECT code AS label, count(*) AS found FROM refusals GROUP BY code",
            "SELECT c.code AS label, count(*) AS found",
            Meaning::Text,
        ),
    };
    Some(Way { whole, of_numbers, group: OF, meaning })
}

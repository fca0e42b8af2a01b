//! Rows out of the database, or from a running service.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

use super::client::Client;
use crate::app::cluster::{self, ClusterSettings};
use crate::clock::Clock;
use crate::export::{Row, Wanted};
use crate::filters::{self, Texts};
use crate::http::CODES;
use crate::policy::PolicySet;
use crate::replay::Drift;
use crate::store::stats::{By, Counts};
use crate::store::{Order, Span, Store};

/// Rows that are read from the database at a time.
const PAGE: u32 = 500;

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Certificates,
    Refusals,
    Events,
}

/// Which stretch of a list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stretch {
    pub(super) after_number: Option<i64>,
    pub(super) ascending: bool,
    pub(super) limit: Option<u64>,
}

/// Names and texts of filters.
pub(super) type Given = [(String, String)];

/// Where rows come from.
pub(super) enum Source {
    /// With the configured clusters, for who asks what today's policy says.
    Ledger(Store, Vec<ClusterSettings>),
    Server(Client),
}

/// Takes a row as one line of JSON.
pub(super) type Take<'t> = dyn FnMut(&str) -> Result<()> + Send + 't;

impl Source {
    /// The service that was named, or the configured database.
    pub(super) async fn open(from: super::From, config: &Path) -> Result<Self> {
        if let (Some(server), Some(token)) = (from.server, from.token_file) {
            return Ok(Self::Server(Client::new(&server, &token, from.ca_file.as_deref())?));
        }
        let config = crate::cli::read(config)?;
        Ok(Self::Ledger(crate::cli::open(&config).await?, config.clusters))
    }

    /// Hands every row to `take`, as JSON on one line.
    ///
    /// # Errors
    /// A filter is wrong, the ledger does not answer, or a stream was cut.
    pub(super) async fn rows(
        &self,
        what: What,
        texts: &Given,
        stretch: Stretch,
        take: &mut Take<'_>,
    ) -> Result<()> {
        match self {
            Self::Ledger(store, clusters) => {
                let wanted = wanted(store, clusters, what, texts).await?;
                rows_of(store, &wanted, stretch, take).await
            }
            Self::Server(client) => {
                let path = path(what, texts, stretch);
                tokio::task::block_in_place(|| client.rows(&path, take))
            }
        }
    }

    /// Counts of certificates and refusals, as the API has its items.
    ///
    /// # Errors
    /// As for [`Source::rows`].
    pub(super) async fn counts(&self, by: &str, texts: &Given) -> Result<Vec<Value>> {
        match self {
            Self::Ledger(store, _) => counts_of(store, by, texts).await,
            Self::Server(client) => {
                let mut given = texts.to_vec();
                given.push(("by".to_owned(), by.to_owned()));
                let path = format!("/v1/stats{}", query(&given));
                let stats = tokio::task::block_in_place(|| client.json(&path))?;
                Ok(stats.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
            }
        }
    }
}

async fn rows_of(store: &Store, wanted: &Wanted, stretch: Stretch, take: &mut Take<'_>) -> Result<()> {
    let order = if stretch.ascending { Order::OldestFirst } else { Order::NewestFirst };
    let newest = store.newest_number().await?;
    let mut span = Span {
        above: stretch.after_number.unwrap_or(0),
        below: newest.saturating_add(1),
        ..Span::all(order, PAGE)
    };
    let mut left = stretch.limit.unwrap_or(u64::MAX);
    loop {
        span.limit = PAGE.min(u32::try_from(left).unwrap_or(PAGE));
        let rows = wanted.page(store, span).await?;
        for row in &rows {
            take(&serde_json::to_string(&wanted.view(row))?)?;
        }
        let found = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        left = left.saturating_sub(u64::from(found));
        match rows.last().map(Row::number) {
            Some(last) if found == span.limit && left > 0 => span = span.behind(last),
            _ => return Ok(()),
        }
    }
}

/// Whoever reads the database sees all of it.
async fn wanted(store: &Store, clusters: &[ClusterSettings], what: What, given: &Given) -> Result<Wanted> {
    let mut texts = Texts::new(given.iter().cloned());
    let wanted = match what {
        What::Certificates => {
            let now = Clock::System.now();
            let filter = filters::certificates(&mut texts, now)?;
            if filters::drifted(&mut texts, &filter)? {
                Wanted::Drifted(filter, now, drift(store, clusters).await?)
            } else {
                Wanted::Certificates(filter, now)
            }
        }
        What::Refusals => Wanted::Refusals(filters::refusals(&mut texts, is_code)?, true),
        What::Events => Wanted::Events(filters::events(&mut texts)?),
    };
    check_cluster(store, given).await?;
    Ok(wanted)
}

/// Today's set. Of the files that the configuration names none is read.
async fn drift(store: &Store, clusters: &[ClusterSettings]) -> Result<Drift> {
    let clusters = cluster::rules_without_ca(clusters)?;
    let (revision, rows) = store.policies(None).await?.context("the ledger has no policy set")?;
    let set = PolicySet::load(revision, rows, &clusters).map_err(|errors| {
        let reasons: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow!("the policy set is not one for this configuration: {}", reasons.join("; "))
    })?;
    Ok(Drift::new(Arc::new(set), &clusters, Clock::System.now()))
}

async fn counts_of(store: &Store, by: &str, given: &Given) -> Result<Vec<Value>> {
    let by = By::parse(by).ok_or_else(|| anyhow!("--by is one of {}", By::ALL.map(By::as_str).join(", ")))?;
    let both = filters::both(Texts::new(given.iter().cloned()), Clock::System.now(), is_code)?;
    check_cluster(store, given).await?;
    let (mut certificates, mut refusals) = (Counts::new(), Counts::new());
    if let Some(filter) = &both.certificates {
        certificates = store.count_certificates(filter, by).await?;
    }
    if let Some(filter) = &both.refusals {
        refusals = store.count_refusals(filter, by).await?;
    }
    let keys: std::collections::BTreeSet<_> = certificates.keys().chain(refusals.keys()).collect();
    let item = |key: &Option<String>| {
        let count = |counts: &Counts| counts.get(key).copied().unwrap_or(0);
        serde_json::json!({ "key": key, "certificates": count(&certificates), "refusals": count(&refusals) })
    };
    Ok(keys.into_iter().map(item).collect())
}

/// A cluster that no CA was ever registered for is a typo.
async fn check_cluster(store: &Store, given: &Given) -> Result<()> {
    for (_, cluster) in given.iter().filter(|(name, _)| name == "cluster") {
        if !store.knows_cluster(cluster).await? {
            bail!("there is no cluster `{}` in this ledger", cluster.escape_debug());
        }
    }
    Ok(())
}

fn is_code(code: &str) -> bool {
    CODES.iter().any(|(known, _, _)| *known == code)
}

fn path(what: What, texts: &Given, stretch: Stretch) -> String {
    let (path, after) = match what {
        What::Certificates => ("/v1/certificates", "after_number"),
        What::Refusals => ("/v1/refusals", "after_number"),
        What::Events => ("/v1/audit", "after"),
    };
    let mut given = texts.to_vec();
    let mut add = |name: &str, text: String| given.push((name.to_owned(), text));
    add("format", "ndjson".to_owned());
    add("order", if stretch.ascending { "asc" } else { "desc" }.to_owned());
    if let Some(number) = stretch.after_number {
        add(after, number.to_string());
    }
    if let Some(limit) = stretch.limit {
        add("limit", limit.to_string());
    }
    format!("{path}{}", query(&given))
}

fn query(given: &Given) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let pairs: Vec<_> = given
        .iter()
        .map(|(name, text)| format!("{name}={}", utf8_percent_encode(text, NON_ALPHANUMERIC)))
        .collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// A row that was handed over, read again.
pub(super) fn read(row: &str) -> Result<Value> {
    serde_json::from_str(row).context("a row is no JSON")
}

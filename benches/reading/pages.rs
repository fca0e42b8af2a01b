//! A page over HTTP beside the same statement in the database's own client, in turns, so that whatever
//! else runs on the machine slows both alike.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::clock::Clock;
use countersign::store::{Order, Span, Store, Typed};
use serde::Serialize;

use crate::cases::{Case, List};
use crate::database::Engine;
use crate::http::{Client, target};
use crate::prompt::Prompt;
use crate::statistics::{percentile, ratio, rounded};

/// Rows of a page. The service reads one more.
const LIMIT: u32 = 100;

/// Slower than the client by a factor matters from here on: a request takes some of it whatever it asks.
const FLOOR_MS: f64 = 1.0;

/// What one page took.
#[derive(Clone, Debug, Serialize)]
pub struct PageRow {
    pub list: &'static str,
    pub filters: String,
    pub page: &'static str,
    /// Along what it is read.
    pub along: String,
    pub rows: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// The median of the same statement, typed.
    pub typed_ms: f64,
    pub times: f64,
    /// What the query plan has that it should not.
    pub plan: Option<String>,
    pub good: bool,
}

/// What is measured with.
pub struct Pages<'p> {
    pub engine: Engine,
    pub store: &'p Store,
    pub client: &'p mut Client,
    pub prompt: &'p mut Prompt,
    pub repetitions: u32,
}

impl Pages<'_> {
    /// First and deep page of one case, both ways.
    pub async fn measure(&mut self, case: &Case) -> Result<Vec<PageRow>> {
        let middle = case.asked(Clock::System.now())?.middle(self.store).await?;
        let mut rows = Vec::new();
        for (order, name, deep_name) in
            [(Order::NewestFirst, "first", "deep"), (Order::OldestFirst, "first, asc", "deep, asc")]
        {
            rows.push(self.page(case, Span::all(order, LIMIT + 1), name).await?);
            if let Some(middle) = middle {
                rows.push(self.page(case, Span::all(order, LIMIT + 1).behind(middle), deep_name).await?);
            }
        }
        Ok(rows)
    }

    async fn page(&mut self, case: &Case, span: Span, page: &'static str) -> Result<PageRow> {
        // As late as can be: a status is that of this moment, and certificates expire during a run.
        let asked = case.asked(Clock::System.now())?;
        let typed = asked.typed(self.store, span).await?;
        let numbers = asked.numbers(self.store, span).await?;
        let target = address(case, span);
        let (mut served, mut took_by_hand) = (Vec::new(), Vec::new());
        let mut found = 0;
        for turn in 0..self.repetitions + 3 {
            let (body, took) = self.client.get(&target)?;
            let (lines, took_typed) = self.prompt.ask(&typed.text)?;
            // The first ones warm up.
            if turn >= 3 {
                served.push(took);
                took_by_hand.push(took_typed);
            } else {
                let body: serde_json::Value = serde_json::from_slice(&body)?;
                found = body.get("items").and_then(|items| items.as_array()).context("no items")?.len();
                ensure!(
                    lines.len() == numbers.len(),
                    "{}: {} rows and not {}",
                    typed.text,
                    lines.len(),
                    numbers.len()
                );
                ensure!(found == numbers.len().min(100), "{target}: {found} rows and not {}", numbers.len());
            }
        }
        served.sort_unstable();
        took_by_hand.sort_unstable();
        let ms = |times: &[Duration], per_mille| percentile(times, per_mille).as_secs_f64() * 1_000.0;
        let (p50, p99, of_typed) = (ms(&served, 500), ms(&served, 990), ms(&took_by_hand, 500));
        Ok(PageRow {
            list: case.list.path(),
            filters: case.name.clone(),
            page,
            along: typed.along.replace("c.", "").trim_start_matches(" FROM ").replace(" m", ""),
            rows: found,
            p50_ms: rounded(p50, 2),
            p99_ms: rounded(p99, 2),
            typed_ms: rounded(of_typed, 2),
            times: rounded(ratio(p50, of_typed), 2),
            // One row or two, of which each has its place: nothing to sort.
            plan: if unique(case) { None } else { self.plan(&typed)? },
            good: (p50 <= 2.0 * of_typed || p50 <= FLOOR_MS) && p99 < 20.0,
        })
    }

    /// A look at every row, or a sort of more than the page.
    fn plan(&mut self, typed: &Typed) -> Result<Option<String>> {
        if self.engine == Engine::Sqlite {
            let (plan, _) = self.prompt.ask(&format!("EXPLAIN QUERY PLAN {}", typed.last))?;
            let mut steps = plan.iter().map(|step| step.trim_start_matches(['|', '`', '-', ' ']));
            let stretch = LISTS.contains(&typed.along.as_str());
            return Ok(steps.find(|step| is_bad_in_a_file(step, stretch)).map(ToOwned::to_owned));
        }
        for (setting, value) in AS_ON_ITS_CONNECTIONS {
            self.prompt.ask(&format!("SET {setting} = {value}"))?;
        }
        let [prepare, execute] = &typed.prepared;
        self.prompt.ask(prepare)?;
        let (plan, _) = self.prompt.ask(&format!("EXPLAIN (COSTS OFF) {execute}"))?;
        self.prompt.ask("DEALLOCATE page")?;
        for (setting, _) in AS_ON_ITS_CONNECTIONS {
            self.prompt.ask(&format!("RESET {setting}"))?;
        }
        let steps = plan.iter().enumerate().map(|(place, line)| (place, line.trim()));
        let steps = steps.filter(|(place, line)| *place == 0 || line.starts_with("->"));
        let steps: Vec<&str> = steps.map(|(_, line)| line.trim_start_matches(['-', '>', ' '])).collect();
        let next = steps.iter().skip(1).copied().chain([""]);
        let stretch = LISTS.contains(&typed.along.as_str());
        let bad = steps.iter().zip(next).find(|(step, below)| is_bad_on_a_server(step, below, stretch));
        Ok(bad.map(|(step, _)| (*step).to_owned()))
    }
}

/// What the service sets on its own connections that read.
const AS_ON_ITS_CONNECTIONS: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
];

/// Along these a page is read in stretches of numbers, and each stretch is sorted.
const LISTS: [&str; 2] = ["c.groups_id", "c.policies_id"];

fn is_bad_in_a_file(step: &str, stretch: bool) -> bool {
    let scan = step.starts_with("SCAN") && !["SCAN k", "SCAN p", "SCAN CONSTANT ROW"].contains(&step);
    scan || (step.contains("TEMP B-TREE") && !stretch)
}

/// A sort of parts that end with the page is none of a table, nor is one of a stretch.
fn is_bad_on_a_server(step: &str, below: &str, stretch: bool) -> bool {
    let tables = ["certificates", "refusals", "events"];
    let scan = step.contains("Seq Scan") && tables.iter().any(|table| step.contains(table));
    let sort = ["Sort", "Incremental Sort"].contains(&step) && below != "Append" && !stretch;
    scan || sort || (step == "Append" && below != "Limit")
}

/// Of each page the measurement that lies between the others.
pub fn middle(rounds: &[Vec<PageRow>]) -> Vec<PageRow> {
    let pages = rounds.iter().map(Vec::len).min().unwrap_or(0);
    let of = |page: usize| {
        let mut measured: Vec<&PageRow> = rounds.iter().filter_map(|round| round.get(page)).collect();
        measured.sort_by(|one, other| one.times.total_cmp(&other.times));
        measured.get(measured.len() / 2).map(|row| (*row).clone())
    };
    (0..pages).filter_map(of).collect()
}

fn unique(case: &Case) -> bool {
    case.filters.iter().any(|(name, _)| ["serial", "credential_id"].contains(name))
}

/// Where a client asks for this page.
fn address(case: &Case, span: Span) -> String {
    let limit = LIMIT.to_string();
    let order = if span.order == Order::OldestFirst { "asc" } else { "desc" };
    let mut given: Vec<(&str, &str)> =
        case.filters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    given.push(("order", order));
    given.sort_unstable();
    let number = if span.order == Order::OldestFirst { span.above } else { span.below };
    let begins = if span.order == Order::OldestFirst { number == 0 } else { number == i64::MAX };
    let cursor = (!begins).then(|| cursor(case.list, &given, number));
    let rest = [("limit", limit.as_str())].into_iter();
    let rest = rest.chain(cursor.as_deref().map(|cursor| ("cursor", cursor)));
    target(case.list.path(), given.iter().copied().chain(rest))
}

/// The cursor that the service would have given behind this number.
fn cursor(list: List, given: &[(&str, &str)], number: i64) -> String {
    let mut text = Vec::from(list.path().as_bytes());
    for (name, value) in given {
        text.push(0);
        text.extend(name.bytes().chain([b'=']).chain(value.bytes()));
    }
    let binding = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    let octets: Vec<u8> =
        [1].into_iter().chain(number.to_be_bytes()).chain(binding.as_ref().iter().take(8).copied()).collect();
    URL_SAFE_NO_PAD.encode(octets)
}

//! `countersign policy plan`.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use super::{compile, diff, read_file};
use crate::app::cluster;
use crate::clock::Clock;
use crate::config::Config;
use crate::policy::{Difference, Effect, PolicySet};
use crate::replay::report::{Explanation, Flip, Lost, LostCertificate, Plan as Report, Replayed};
use crate::replay::{self, Options, Sets, Step};
use crate::store::Store;

/// The file, and how much of the ledger is looked at.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Plan {
    /// The file, YAML or JSON; - for standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// How many of the last decisions are decided again
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    replay: u64,
    /// How many certificates and how many questions are shown one by one
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For a person
    Text,
    /// As the API answers
    Json,
}

impl Plan {
    /// Of the files that the configuration names none is read.
    pub(super) async fn run(self, config: &Config, store: &Store) -> Result<()> {
        let clusters = cluster::rules_without_ca(&config.clusters)?;
        let (name, rows) = read_file(&self.file)?;
        let planned = compile(rows.clone(), &clusters, &name)?;
        let (revision, old) = store.policies(None).await?.context("the ledger has no policy set")?;
        let difference = Difference::between(&old, &rows);
        let current = PolicySet::load(revision, old, &clusters).map_err(|errors| {
            let reasons: Vec<String> = errors.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("the set that holds is not one for this configuration: {}", reasons.join("; "))
        })?;
        let sets = Sets::new(Arc::new(planned), Arc::new(current), &clusters, Clock::System.now());
        let options = Options { replay: self.replay, shown: self.limit };
        let bar = bar(self.replay);
        let plan = replay::plan(store, sets, difference, options, |step| tell(&bar, step)).await;
        bar.finish_and_clear();
        match self.output {
            Output::Text => text(&plan?),
            Output::Json => Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&plan?)?)?),
        }
    }
}

/// On standard error, and only where that is a terminal.
fn bar(replay: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{msg:20} {bar:40} {human_pos}/{human_len}, {per_sec}, {elapsed}");
    let bar = ProgressBar::new(replay).with_message("live certificates");
    bar.enable_steady_tick(Duration::from_millis(200));
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}

fn tell(bar: &ProgressBar, step: Step) {
    match step {
        Step::Live(count) => {
            bar.set_length(count);
            bar.set_position(count);
        }
        Step::Replayed(count) => {
            if bar.message() != "last decisions" {
                bar.set_message("last decisions");
                bar.reset_elapsed();
            }
            bar.set_length(bar.length().unwrap_or(0).max(count));
            bar.set_position(count);
        }
    }
}

fn text(plan: &Report) -> Result<()> {
    let mut lines = diff::lines(&plan.difference);
    if lines.is_empty() {
        lines.push(format!("the same rows as in revision {}", plan.revision));
    }
    for name in &plan.held {
        lines.push(format!("held\t{name}\tstays unless it is named: `policy apply --release {name}`"));
    }
    certificates(&plan.certificates, plan.revision, &mut lines);
    decisions(&plan.replay, plan.revision, &mut lines);
    lines.push(String::new());
    Ok(std::io::stdout().write_all(lines.join("\n").as_bytes())?)
}

fn certificates(lost: &Lost, revision: i64, lines: &mut Vec<String>) {
    let Lost { live, no_longer_allowed, already, not_decided, .. } = lost;
    lines.push(String::new());
    lines.push(format!(
        "{live} live certificates, {no_longer_allowed} no longer allowed ({already} of them not by revision {revision} either)"
    ));
    if *not_decided > 0 {
        lines.push(format!("{not_decided} are for clusters that are not configured here, and were left out"));
    }
    for (what, shares) in [("user", &lost.by_user), ("group", &lost.by_group)] {
        let share = |share: &replay::report::Share| {
            format!("{what}\t{}\t{}\tuntil {}", share.name, share.certificates, share.until)
        };
        lines.extend(shares.iter().map(share));
    }
    lost.items.iter().for_each(|one| certificate(one, lines));
    if !lost.is_complete {
        lines.push(format!("these are {}: --limit shows more", lost.items.len()));
    }
}

fn certificate(one: &LostCertificate, lines: &mut Vec<String>) {
    let LostCertificate { serial, cluster, user, not_after, requested_by, .. } = one;
    let groups = listed(&one.groups);
    lines.push(format!(
        "certificate\t{serial}\t{user} {groups} on {cluster}, until {not_after}, asked for by {requested_by}"
    ));
    explained(&one.was, &one.would_be, lines);
}

fn decisions(replayed: &Replayed, revision: i64, lines: &mut Vec<String>) {
    let Replayed { decisions, distinct, flips, already, not_decided, .. } = replayed;
    lines.push(String::new());
    lines.push(format!(
        "the last {decisions} decisions, {distinct} distinct questions: {flips} otherwise ({already} of them by revision \
         {revision} too), {not_decided} not the policy's"
    ));
    replayed.items.iter().for_each(|one| flip(one, lines));
    if !replayed.is_complete {
        lines.push(format!("these are {} questions: --limit shows more", replayed.items.len()));
    }
}

fn flip(one: &Flip, lines: &mut Vec<String>) {
    let Flip { cluster, user, requested_by, decisions, at, .. } = one;
    let (was, would_be) = (word(one.was.effect), word(one.would_be.effect));
    let groups = listed(&one.groups);
    let person = one.on_behalf_of.as_ref().map(|person| format!(" for {person}")).unwrap_or_default();
    lines.push(format!(
        "{was} -> {would_be}\t{decisions} times\t{user} {groups} on {cluster}, asked for by {requested_by}{person}, last at {at}"
    ));
    explained(&one.was, &one.would_be, lines);
}

fn explained(was: &Explanation, would_be: &Explanation, lines: &mut Vec<String>) {
    lines.push(format!("\twas\t{}", explanation(was)));
    lines.push(format!("\twould be\t{}", explanation(would_be)));
}

fn explanation(one: &Explanation) -> String {
    let claims = one.violations.as_array().into_iter().flatten();
    let claims = claims.map(|claim| {
        let text = |field: &str| claim.get(field).and_then(serde_json::Value::as_str).unwrap_or_default();
        format!("{} `{}`: {}", text("claim"), text("value"), text("reason"))
    });
    let by = (!one.policies.is_empty()).then(|| format!("by {}", one.policies.join(", ")));
    let whys: Vec<String> = claims.chain(by).collect();
    format!("{}: {}", word(one.effect), whys.join("; "))
}

fn word(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allowed",
        Effect::Review => "held for review",
        Effect::Deny => "refused",
    }
}

fn listed(groups: &[String]) -> String {
    format!("[{}]", groups.join(", "))
}

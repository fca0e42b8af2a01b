//! `countersign check`.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::app::check::{Finding, Report, Step, Summary, clusters, ledger, tls, ways};
use crate::clock::Clock;
use crate::config::Config;

use super::open_existing;

/// The least time between two looks of the bar.
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct Check {
    /// One JSON object for each finding, and one for the summary
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Fails if anything is wrong. A warning is no failure.
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        // Hidden where standard error is no terminal.
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(TICK);
        let mut tell = |step: Step<'_>| match step {
            Step::Part(name, numbers) => begin(&bar, name, numbers),
            Step::Reached(number) => bar.set_position(number),
            Step::Found(finding) => bar.suspend(|| println!("{}", self.line(finding))),
        };
        let mut report = Report::new(&mut tell);
        let now = Clock::System.now();
        let configured = clusters(&config.clusters, now, &mut report);
        ways(&config.auth, &config.clusters, &mut report);
        if let Some(settings) = &config.tls {
            tls(settings, now, &mut report);
        }
        match open_existing(config).await {
            Ok(store) => {
                ledger(&store, configured, now, &mut report).await;
                store.close().await;
            }
            Err(error) => report.wrong("database", super::one_line(&error)),
        }
        let summary = report.summary;
        bar.finish_and_clear();
        println!("{}", self.summary(summary));
        match summary.wrong {
            0 => Ok(()),
            1 => bail!("one thing is wrong"),
            wrong => bail!("{wrong} things are wrong"),
        }
    }

    fn line(&self, finding: &Finding) -> String {
        if self.json {
            return serde_json::to_string(finding).unwrap_or_default();
        }
        format!("{}: {}: {}", finding.severity.as_str(), one_line(&finding.about), one_line(&finding.text))
    }

    fn summary(&self, summary: Summary) -> String {
        if self.json {
            return serde_json::to_string(&summary).unwrap_or_default();
        }
        let Summary { certificates, refusals, events, wrong, warnings } = summary;
        format!(
            "checked {certificates} certificates, {refusals} refusals, {events} events; wrong: {wrong}, \
             warnings: {warnings}"
        )
    }
}

/// What is wrong may be the text of a row: it stays on its line.
fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] }).collect()
}

fn begin(bar: &ProgressBar, name: &'static str, numbers: Option<u64>) {
    let template = match numbers {
        Some(numbers) => {
            bar.set_length(numbers);
            "{spinner} {msg} {wide_bar} {human_pos}/{human_len} {eta}"
        }
        None => "{spinner} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.reset();
    bar.set_message(name);
}

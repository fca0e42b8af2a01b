//! `countersign policy explain`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde_json::json;

use super::{compile, compiled, read_file};
use crate::app::cluster;
use crate::app::evaluate::{EvaluateCommand, Evaluation, Supposed, named_caller, used_up};
use crate::caller::Claims;
use crate::cli::audit::table::Table;
use crate::cli::{RefusedByPolicy, open_existing};
use crate::clock::Clock;
use crate::config::Config;
use crate::policy::explain::{ClaimExplained, Considered, Field};
use crate::policy::{Audience, Clusters, Effect, Moment, PolicySet, SupposedProof};
use crate::store::Store;
use crate::time::Lifetime;

/// Of each claim, so that an answer fits on a screen; JSON has them all.
const ROWS: usize = 12;

/// The request that nobody sends.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Explain {
    /// Who asks, as in token:portal or oidc:corp:alice
    #[arg(long, value_name = "CALLER")]
    caller: String,
    /// A group that the caller's credential shows, as group:corp:admins; may be given again
    #[arg(long, value_name = "GROUP")]
    caller_group: Vec<String>,
    /// What it claims, as email=alice@corp.example; may be given again, for a claim with several values too
    #[arg(long, value_name = "NAME=VALUE", value_parser = claim)]
    caller_claim: Vec<(String, String)>,
    /// The user name of the certificate
    #[arg(long, value_name = "NAME")]
    user: String,
    /// A group of the certificate; may be given again
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// The cluster; may be left out where there is one
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// The lifetime, as 8h
    #[arg(long, value_name = "TTL", value_parser = lifetime)]
    ttl: Option<Lifetime>,
    /// The person that a portal names
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// That this person's own token comes with it
    #[arg(long, requires = "on_behalf_of")]
    proof: bool,
    /// A group that this token shows; means --proof, and may be given again
    #[arg(long, value_name = "GROUP", requires = "on_behalf_of")]
    proof_group: Vec<String>,
    /// The kind of key
    #[arg(long, value_name = "KIND", default_value = "p-256")]
    key: String,
    /// Explain a file instead of the set that holds; needs no database and no CA. - for standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For a person
    Table,
    /// As the API answers
    Json,
}

impl Explain {
    /// Prints the decision with its reasons. A refusal is the exit code 3.
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        let now = Clock::System.now();
        let evaluation = if let Some(file) = &self.file {
            let (policies, rules) = of_file(config, file)?;
            let supposed = self.supposed(&rules)?;
            Evaluation::of(&policies, &rules, &supposed, now.into(), Audience::Reader)
        } else {
            let store = open_existing(config).await?;
            let (policies, rules) = of_ledger(config, &store).await?;
            let supposed = self.supposed(&rules)?;
            let spent = used_up(&store, &policies, &rules, &supposed, now).await?;
            store.close().await;
            let moment = Moment { now, spent: &spent };
            Evaluation::of(&policies, &rules, &supposed, moment, Audience::Reader)
        };
        match self.output {
            Form::Json => println!("{}", serde_json::to_string(&evaluation)?),
            Form::Table => print(&evaluation),
        }
        match evaluation.detail() {
            Some(detail) => Err(RefusedByPolicy(format!("{}: {detail}", evaluation.outcome())).into()),
            None => Ok(()),
        }
    }

    fn supposed(&self, rules: &Clusters) -> Result<Supposed> {
        let command = self.command();
        let caller = named_caller(&self.caller, &command)?;
        Ok(Supposed::read(&command, caller, rules)?)
    }

    fn command(&self) -> EvaluateCommand {
        EvaluateCommand {
            caller: Some(self.caller.clone()),
            caller_groups: self.caller_group.clone(),
            caller_claims: self.claims(),
            user: self.user.clone(),
            groups: self.group.clone(),
            cluster: self.cluster.clone(),
            ttl: self.ttl,
            on_behalf_of: self.on_behalf_of.clone(),
            proof: (self.proof || !self.proof_group.is_empty())
                .then(|| SupposedProof { groups: self.proof_group.clone() }),
            key: Some(self.key.clone()),
        }
    }

    fn claims(&self) -> Claims {
        let mut claims = Claims::new();
        for (name, value) in &self.caller_claim {
            claims.entry(name.clone()).or_default().push(value.clone());
        }
        claims
    }
}

/// The set that holds, and the clusters with their CAs.
async fn of_ledger(config: &Config, store: &Store) -> Result<(PolicySet, Clusters)> {
    let (_, rules) = cluster::load_all(config.clusters.clone())?;
    let (revision, rows) = store.policies(None).await?.context("the ledger has no policy set")?;
    Ok((compiled(PolicySet::load(revision, rows, &rules), "the policy set")?, rules))
}

/// The set of a file, and the clusters as the configuration alone knows them.
fn of_file(config: &Config, file: &Path) -> Result<(PolicySet, Clusters)> {
    let rules = cluster::rules_without_ca(&config.clusters)?;
    let (name, rows) = read_file(file)?;
    Ok((compile(rows, &rules, &name)?, rules))
}

fn print(evaluation: &Evaluation) {
    let mut table = Table::with(&[
        ("CLAIM", "claim"),
        ("VALUE", "value"),
        ("CLUSTER", "cluster"),
        ("OUTCOME", "outcome"),
        ("POLICY", "policy"),
        ("EFFECT", "effect"),
        ("MATCHES", "matches"),
        ("MAX TTL", "max_ttl"),
    ]);
    for claim in evaluation.claims() {
        for line in lines(claim) {
            table.add(&line);
        }
    }
    print!("{}", table.draw());
    if let Some(lifetime) = evaluation.lifetime() {
        println!("\nlifetime {}", lifetime.sentence());
    }
    for warning in evaluation.warnings() {
        eprintln!("warning: {warning}");
    }
}

/// The claim, then each row that was considered.
fn lines(claim: &ClaimExplained) -> Vec<serde_json::Value> {
    let head = json!({
        "claim": claim.claim.to_string(), "value": claim.value, "cluster": claim.cluster.as_str(),
        "outcome": claim.outcome.as_str(), "max_ttl": claim.max_ttl,
    });
    let rows = claim.rows.iter().take(ROWS).map(|row| line(claim, row));
    let hidden = claim.rows.len().saturating_sub(ROWS).saturating_add(claim.rows_left_out);
    let rest = (hidden > 0).then(|| json!({"policy": format!("and {hidden} more, see -o json")}));
    std::iter::once(head).chain(rows).chain(rest).collect()
}

fn line(claim: &ClaimExplained, row: &Considered) -> serde_json::Value {
    let decides = if claim.policies.contains(&row.policy) { "*" } else { "" };
    let matches = if row.matches {
        "yes".to_owned()
    } else {
        let fields: Vec<&str> = row.fails_on.iter().map(|field: &Field| field.as_str()).collect();
        format!("not on {}", fields.join(", "))
    };
    let effect = match row.effect {
        Effect::Allow => "allow",
        Effect::Review => "review",
        Effect::Deny => "deny",
    };
    json!({
        "policy": format!("{}{decides}", row.policy), "effect": effect, "matches": matches, "max_ttl": row.max_ttl,
    })
}

fn claim(text: &str) -> Result<(String, String), String> {
    let named = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = named.ok_or("write NAME=VALUE, as email=alice@corp.example")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    let ttl = Lifetime::parse(text)?;
    if (Lifetime::LEAST..=Lifetime::MOST).contains(&ttl) {
        Ok(ttl)
    } else {
        Err("ask for at least 10m and at most ten years (3650d)".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::name::ShortName;
    use crate::policy::Claim;
    use crate::policy::explain::ClaimOutcome;

    #[test]
    fn a_claim_is_followed_by_its_rows_and_by_how_many_are_not_shown() {
        let row = |place: usize| Considered {
            policy: ShortName::parse(&format!("row-{place:02}")).unwrap(),
            effect: Effect::Allow,
            matches: place == 0,
            fails_on: if place == 0 { Vec::new() } else { vec![Field::Users, Field::Groups] },
            max_ttl: None,
        };
        let claim = ClaimExplained {
            claim: Claim::Group,
            value: "dev".into(),
            cluster: ShortName::parse("prod").unwrap(),
            outcome: ClaimOutcome::Allowed,
            policies: vec![row(0).policy],
            held_by: Vec::new(),
            max_ttl: None,
            rows: (0..15).map(row).collect(),
            rows_left_out: 7,
        };
        let lines = lines(&claim);
        assert_eq!(lines.len(), ROWS + 2);
        assert_eq!(lines[1]["policy"], "row-00*");
        assert_eq!(lines[2]["matches"], "not on users, groups");
        assert_eq!(lines[ROWS + 1]["policy"], "and 10 more, see -o json");
    }
}

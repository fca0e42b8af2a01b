//! The commands: one file for each noun. Data goes to stdout, talk to stderr.

mod audit;
mod backup;
mod check;
mod clock;
mod configuration;
mod descriptors;
mod healthcheck;
mod https;
mod identity;
mod key;
mod ledger;
mod migrate;
mod operator;
mod policy;
mod quickstart;
mod request;
mod serve;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::store::{Store, StoreSettings};

/// Exit code of a request that the policy refused; 1 is any other error, 2 wrong usage.
const REFUSED: u8 = 3;

/// You sign the request; Countersign signs the certificate.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, about)]
pub struct Arguments {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        default_value = "countersign.toml",
        env = "COUNTERSIGN_CONFIG",
        value_name = "FILE"
    )]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a throw-away CA and everything else in one folder, sign for alice, and keep serving
    Quickstart(quickstart::Quickstart),
    /// Run the service
    Serve,
    /// Make, list and revoke API tokens
    #[command(subcommand)]
    Token(token::Token),
    /// Read, change, test and plan the policy set
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Look at requests that wait for people, approve and deny them
    #[command(subcommand)]
    Request(request::Request),
    /// See whose the user names of issuers are, and give one free
    #[command(subcommand)]
    Identity(identity::Identity),
    /// Block public keys, so that they are never certified again
    #[command(subcommand)]
    Key(key::Key),
    /// Check the CA files, the database and every record against its certificate; exit status 1 if
    /// anything is wrong. Works beside a running server
    Check(check::Check),
    /// Copy the whole ledger into a new file. Works beside a running server
    Backup(backup::Backup),
    /// Delete what was kept long enough, or move everything to another database
    #[command(subcommand)]
    Ledger(ledger::Ledger),
    /// Ask the ledger who could do what, and what an API server's audit log names
    #[command(subcommand)]
    Audit(Box<audit::Audit>),
    /// Put right what a wrong clock left behind
    #[command(subcommand)]
    Clock(clock::ClockCommand),
    /// Bring the database's schema to what this version needs, as `serve` does at its start
    Migrate(migrate::Migrate),
    /// Look at the configuration
    #[command(subcommand)]
    Config(configuration::Configuration),
    /// Ask a running service whether it is ready; for containers
    Healthcheck(healthcheck::Healthcheck),
    /// Print the version
    Version,
}

/// A request that the policy refused: the message is printed as it is, and the exit code says so.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct RefusedByPolicy(String);

/// Runs one command. The exit code is 0, 1 for an error, 3 for a refusal by policy; clap's own is
/// 2 for wrong usage.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    forbid_core_dumps();
    match dispatch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("countersign: {}", one_line(&error));
            ExitCode::from(if error.is::<RefusedByPolicy>() { REFUSED } else { 1 })
        }
    }
}

fn dispatch(arguments: Arguments) -> Result<()> {
    let config = arguments.config;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting threads")?;
    runtime.block_on(async {
        match arguments.command {
            Command::Quickstart(quickstart) => quickstart.run().await,
            Command::Serve => serve::run(&config).await,
            Command::Token(token) => token.run(&read(&config)?).await,
            Command::Policy(policy) => policy.run(&config).await,
            Command::Identity(identity) => identity.run(&read(&config)?).await,
            Command::Key(key) => key.run(&read(&config)?).await,
            Command::Request(request) => request.run(&read(&config)?).await,
            Command::Check(check) => check.run(&read(&config)?).await,
            Command::Backup(backup) => backup.run(&read(&config)?).await,
            Command::Audit(audit) => audit.run(&config).await,
            Command::Clock(clock) => clock.run(&read(&config)?).await,
            Command::Ledger(ledger) => ledger.run(&read(&config)?).await,
            Command::Migrate(migrate) => migrate.run(&read(&config)?).await,
            Command::Config(configuration) => configuration.run(&read(&config)?),
            Command::Healthcheck(healthcheck) => healthcheck.run(&config),
            Command::Version => {
                println!("countersign {}", env!("CARGO_PKG_VERSION"));
                Ok(())
            }
        }
    })
}

fn read(path: &std::path::Path) -> Result<Config> {
    Ok(Config::read(path)?)
}

async fn open(config: &Config) -> Result<Store> {
    Store::open(&config.store).await.with_context(|| config.store.to_string())
}

/// The ledger, which must be there: what looks after one must not make an empty one.
async fn open_existing(config: &Config) -> Result<Store> {
    if let StoreSettings::Sqlite(file) = &config.store
        && !file.exists()
    {
        anyhow::bail!("{}: there is no such file: `serve` makes the ledger", file.display());
    }
    open(config).await
}

/// A CA key must not end in a core file. Best effort: a kernel that refuses leaves the default.
fn forbid_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if setrlimit(Resource::Core, none).is_err()
        || set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err()
    {
        eprintln!("countersign: core dumps could not be turned off");
    }
}

/// The whole chain of an error, each cause said once.
fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.ends_with(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text
}

//! `countersign token`.

use anyhow::{Result, anyhow, bail};
use clap::{Subcommand, ValueEnum};

use crate::auth::token;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::config::Config;
use crate::pki::name::ShortName;
use crate::random;
use crate::store::Store;
use crate::store::tokens::TokenRecord;
use crate::time::Lifetime;

use super::{open, operator};

/// The longest that a token lasts: one year.
const LONGEST: Lifetime = Lifetime::from_seconds(365 * 86_400);

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token and print it, once, on stdout
    Create(Create),
    /// List tokens: name, roles, owner, until when
    List,
    /// Revoke a token; its name is not given again
    Revoke {
        /// The token's name
        #[arg(value_parser = ShortName::parse)]
        name: ShortName,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Sign, and see its own records
    Requester,
    /// Read everything, change nothing
    Auditor,
    /// Change policies and tokens
    Admin,
    /// Approve held requests, where a review row names it
    Approver,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Requester => "requester",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
            Self::Approver => "approver",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// Its name, never given before; the caller is then `token:NAME`
    #[arg(value_parser = ShortName::parse)]
    pub name: ShortName,
    /// What it may do; may be repeated
    #[arg(long = "role", required = true)]
    pub roles: Vec<Role>,
    /// It may name the person that it acts for
    #[arg(long)]
    pub on_behalf_of: bool,
    /// The caller that answers for it, as in `oidc:corp:alice`; itself unless said
    #[arg(long, value_name = "CALLER")]
    pub owner: Option<String>,
    /// How long it lasts, one year at most
    #[arg(long, default_value = "90d", value_parser = Lifetime::parse)]
    pub expires: Lifetime,
}

impl Token {
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        let store = open(config).await?;
        match self {
            Self::Create(create) => println!("{}", create.make(&store).await?),
            Self::List => list(&store).await?,
            Self::Revoke { name } => revoke(&store, &name).await?,
        }
        store.close().await;
        Ok(())
    }
}

impl Create {
    /// Makes the token and gives back its text, which is nowhere else.
    pub(super) async fn make(self, store: &Store) -> Result<String> {
        if self.expires > LONGEST || self.expires.seconds() == 0 {
            bail!("--expires {}: a token lasts between one second and 365d", self.expires);
        }
        let own = Caller::token(&self.name).to_string();
        let owner = match self.owner {
            Some(owner) => Caller::parse(&owner).map_err(|reason| anyhow!("--owner: {reason}"))?.to_string(),
            None => own,
        };
        let mut roles: Vec<String> = self.roles.iter().map(|role| role.as_str().to_owned()).collect();
        roles.sort_unstable();
        roles.dedup();
        let minted = token::mint(&random::octets()?);
        let now = Clock::System.now();
        let record = TokenRecord {
            id: minted.id,
            name: self.name,
            secret_sha256: *minted.hashed.octets(),
            roles,
            on_behalf_of: self.on_behalf_of,
            owner,
            created_at: now,
            expires_at: now.after(self.expires),
            revoked_at: None,
        };
        store.create_token(&record, &operator::origin()?).await?;
        Ok(minted.plain.expose().to_owned())
    }
}

async fn list(store: &Store) -> Result<()> {
    let now = Clock::System.now();
    for token in store.tokens().await? {
        let state = match token.revoked_at {
            Some(at) => format!("revoked {at}"),
            None if token.expires_at <= now => format!("expired {}", token.expires_at),
            None => format!("until {}", token.expires_at),
        };
        let on_behalf_of = if token.on_behalf_of { ",on-behalf-of" } else { "" };
        println!("{}\t{}{on_behalf_of}\t{}\t{state}", token.name, token.roles.join(","), token.owner);
    }
    Ok(())
}

async fn revoke(store: &Store, name: &ShortName) -> Result<()> {
    match store.revoke_token(name, Clock::System.now(), &operator::origin()?).await? {
        None => bail!("there is no token `{name}`: `countersign token list` shows them"),
        Some(false) => eprintln!("token {name} was revoked before"),
        Some(true) => eprintln!("token {name} is revoked"),
    }
    Ok(())
}

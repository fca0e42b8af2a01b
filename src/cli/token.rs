//! `countersign token`.

use anyhow::{Result, anyhow, bail};
use clap::{Subcommand, ValueEnum};

use crate::app::tokens;
use crate::auth::token::{self, Hold};
use crate::caller::Caller;
use crate::clock::Clock;
use crate::config::Config;
use crate::pki::name::ShortName;
use crate::random;
use crate::store::Store;
use crate::store::tokens::{Rotated, Rotation, TokenRecord};
use crate::time::{Lifetime, Time};

use super::{open, operator};

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token and print it, once, on stdout
    Create(Create),
    /// List tokens: name, roles, owner, until when, last used when
    List,
    /// Give a token a new secret and print it, once, on stdout
    Rotate(Rotate),
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

#[derive(Debug, clap::Args)]
pub(super) struct Rotate {
    /// The token's name; roles and owner stay
    #[arg(value_parser = ShortName::parse)]
    name: ShortName,
    /// How long the old secret goes on, seven days at most; it cannot rotate the token any more
    #[arg(long, default_value = "1h", value_parser = Lifetime::parse)]
    grace: Lifetime,
    /// How long the new secret lasts, one year at most
    #[arg(long, default_value = "90d", value_parser = Lifetime::parse)]
    expires: Lifetime,
}

impl Token {
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        let store = open(config).await?;
        match self {
            Self::Create(create) => println!("{}", create.make(&store).await?),
            Self::List => list(&store).await?,
            Self::Rotate(rotate) => println!("{}", rotate.make(&store).await?),
            Self::Revoke { name } => revoke(&store, &name).await?,
        }
        store.close().await;
        Ok(())
    }
}

impl Create {
    /// Makes the token and gives back its text, which is nowhere else.
    pub(super) async fn make(self, store: &Store) -> Result<String> {
        let lasts = Hold::lifetime(Some(self.expires)).map_err(|reason| anyhow!("--{reason}"))?;
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
            expires_at: now.after(lasts),
            revoked_at: None,
            replaced: false,
            last_used_at: None,
        };
        store.create_token(&record, &operator::origin()?).await?;
        Ok(minted.plain.expose().to_owned())
    }
}

impl Rotate {
    /// Makes the new secret and gives back its text, which is nowhere else.
    async fn make(self, store: &Store) -> Result<String> {
        let lasts = Hold::lifetime(Some(self.expires)).map_err(|reason| anyhow!("--{reason}"))?;
        let grace = Hold::grace(Some(self.grace)).map_err(|reason| anyhow!("--{reason}"))?;
        let minted = token::mint(&random::octets()?);
        let now = Clock::System.now();
        let rotation = Rotation {
            id: minted.id,
            secret_sha256: *minted.hashed.octets(),
            at: now,
            expires_at: now.after(lasts),
            previous_until: now.after(grace),
        };
        let name = self.name;
        let seen = store.revisions().await?.tokens;
        match store.rotate_token(&name, &rotation, seen, &operator::origin()?).await? {
            Rotated::Done => Ok(minted.plain.expose().to_owned()),
            Rotated::NotFound => bail!("there is no token `{name}`: `countersign token list` shows them"),
            Rotated::Revoked => {
                bail!("token {name} is revoked and stays so: make another, under another name")
            }
        }
    }
}

async fn list(store: &Store) -> Result<()> {
    let now = Clock::System.now();
    for token in tokens::Token::all(store.tokens().await?, now) {
        println!("{}", line(&token, now));
    }
    Ok(())
}

/// Name, roles, owner, until when, last used when; and until when the secret before holds.
fn line(token: &tokens::Token, now: Time) -> String {
    let current = &token.current;
    let state = match current.revoked_at {
        Some(at) => format!("revoked {at}"),
        None if current.expires_at <= now => format!("expired {}", current.expires_at),
        None => format!("until {}", current.expires_at),
    };
    let on_behalf_of = if current.on_behalf_of { ",on-behalf-of" } else { "" };
    let used = token.last_used_at.map_or_else(|| "never used".to_owned(), |at| format!("used {at}"));
    let replaced = token.replaced.as_ref();
    let replaced = replaced.map_or_else(String::new, |old| format!("\told secret until {}", old.expires_at));
    let (name, roles, owner) = (&current.name, current.roles.join(","), &current.owner);
    format!("{name}\t{roles}{on_behalf_of}\t{owner}\t{state}\t{used}{replaced}")
}

async fn revoke(store: &Store, name: &ShortName) -> Result<()> {
    match store.revoke_token(name, Clock::System.now(), &operator::origin()?).await? {
        None => bail!("there is no token `{name}`: `countersign token list` shows them"),
        Some(false) => eprintln!("token {name} was revoked before"),
        Some(true) => eprintln!("token {name} is revoked"),
    }
    Ok(())
}

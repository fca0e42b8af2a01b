//! `countersign request`.

use anyhow::{Result, anyhow, bail};
use clap::Subcommand;

use crate::clock::Clock;
use crate::config::Config;
use crate::policy::{Approver, Objection};
use crate::store::requests::{Said, Word};
use crate::store::{HeldId, HeldRequest, HeldState, Order, RequestFilter, Span, Store};
use crate::time::Time;

use super::{open, operator};

/// How many rows are read at a time.
const PAGE: u32 = 200;

#[derive(Debug, Subcommand)]
pub(super) enum Request {
    /// List requests that wait: id, how they stand, cluster, user, groups, who asked, for whom, until when
    List {
        /// Those too of which nothing can come any more
        #[arg(long)]
        all: bool,
    },
    /// Show one, as it is approved
    Show {
        /// Its id
        #[arg(value_parser = id)]
        id: HeldId,
    },
    /// Approve one, as `cli:USER` of the operating system. A review row must name this user, and
    /// whoever wrote that row does not approve
    Approve {
        /// Its id
        #[arg(value_parser = id)]
        id: HeldId,
        /// Why, for the audit log
        #[arg(long, value_parser = comment)]
        comment: Option<String>,
    },
    /// Deny one, as `cli:USER` of the operating system. A review row must name this user
    Deny {
        /// Its id
        #[arg(value_parser = id)]
        id: HeldId,
        /// Why, for the audit log
        #[arg(long, value_parser = comment)]
        comment: Option<String>,
    },
}

impl Request {
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        let store = open(config).await?;
        let now = Clock::System.now();
        match self {
            Self::List { all } => list(&store, all, now).await?,
            Self::Show { id } => match store.request(id, now).await? {
                Some(request) => show(&request),
                None => bail!("there is no request {id}: `countersign request list --all` shows them"),
            },
            Self::Approve { id, comment } => {
                let said = store.approve_request(word(id, comment, now)?).await?;
                println!("{}", standing(&told(said, id)?));
            }
            Self::Deny { id, comment } => {
                let said = store.deny_request(word(id, comment, now)?).await?;
                println!("{}", standing(&told(said, id)?));
            }
        }
        store.close().await;
        Ok(())
    }
}

/// The word of the operating system's user: there is no token whose owner could be asked.
fn word(id: HeldId, comment: Option<String>, at: Time) -> Result<Word> {
    let origin = operator::origin()?;
    let approver = Approver::parse(&origin.caller, &[]).ok_or_else(|| anyhow!("{}", origin.caller))?;
    Ok(Word { id, approver, credential: None, seen_tokens: None, comment, at, origin })
}

fn told(said: Said, id: HeldId) -> Result<HeldRequest> {
    match said {
        Said::Taken(request) => Ok(*request),
        Said::NotFound => bail!("there is no request {id} with a review row whose approvers name this user"),
        Said::NotPending(HeldState::Approved) => bail!("request {id} needs no more approvals"),
        Said::NotPending(state) => bail!("request {id} is {}", state.as_str()),
        Said::Voided => bail!("a review row is no longer what held request {id}, so it is void now"),
        Said::Objection(_, Objection::OwnRequest) => {
            bail!("nobody approves for himself: request {id} is of this user, or for this user")
        }
        Said::Objection(_, Objection::OwnRow) => {
            bail!(
                "nobody approves under a row that he wrote himself, and this user wrote the one that names him"
            )
        }
        Said::Objection(_, Objection::Already) => bail!("request {id} has this user's approval"),
        Said::Objection(_, Objection::NotNamed) => bail!("no review row of request {id} names this user"),
    }
}

async fn list(store: &Store, all: bool, now: Time) -> Result<()> {
    let filter = RequestFilter { open: !all, ..RequestFilter::default() };
    let mut span = Span::all(Order::NewestFirst, PAGE);
    loop {
        let requests = store.requests(&filter, span, now).await?;
        for request in &requests {
            println!("{}", line(request));
        }
        match requests.last() {
            Some(last) => span = span.behind(last.number),
            None => return Ok(()),
        }
    }
}

fn line(request: &HeldRequest) -> String {
    format!(
        "{}\t{}\t{}\t{}\t{}\t{}\t{}\tuntil {}",
        request.id,
        standing(request),
        request.cluster,
        request.user.escape_debug(),
        names(&request.groups),
        request.origin.caller.escape_debug(),
        person(request),
        request.lapses_at
    )
}

/// Whom the request names, and whether that is more than the caller's word.
fn person(request: &HeldRequest) -> String {
    let Some(person) = &request.on_behalf_of else { return String::new() };
    let proof = if request.proof.is_some() { "proven" } else { "not proven" };
    format!("{} ({proof})", escaped(person))
}

fn show(request: &HeldRequest) {
    let or_none = |text: &Option<String>| text.as_deref().map_or_else(String::new, escaped);
    for (name, value) in [
        ("id", request.id.to_string()),
        ("status", standing(request)),
        ("cluster", request.cluster.clone()),
        ("user", escaped(&request.user)),
        ("groups", names(&request.groups)),
        ("lifetime", request.lifetime.to_string()),
        ("on_behalf_of", or_none(&request.on_behalf_of)),
        ("on_behalf_of_proof", request.proof.is_some().to_string()),
        ("reason", or_none(&request.reason)),
        ("requested_by", format!("{} of {}", escaped(&request.origin.caller), escaped(&request.owner))),
        ("requested_at", request.at.to_string()),
        ("lapses_at", request.lapses_at.to_string()),
        ("key", format!("{} {}", request.key_kind, hex::encode(request.spki_sha256))),
        ("csr_sha256", hex::encode(request.csr_sha256)),
        ("ca_spki_sha256", hex::encode(request.authority)),
        ("policies", names(&request.policies)),
        ("policy_revision", request.policy_revision.to_string()),
    ] {
        println!("{name}\t{value}");
    }
    for row in &request.standing {
        println!("review\t{}\t{} of {}", row.policy, row.given, row.wanted);
    }
    for approval in &request.approvals {
        println!(
            "approval\t{}\t{}\t{}",
            escaped(&approval.approver),
            approval.at,
            or_none(&approval.comment)
        );
    }
    if let Some(closed) = &request.closed {
        println!("closed\t{}\t{}\t{}", escaped(&closed.by), closed.at, or_none(&closed.comment));
    }
}

/// The state, and of a pending one how many approvals it has and wants.
fn standing(request: &HeldRequest) -> String {
    let state = request.state.as_str();
    if request.state != HeldState::Pending {
        return state.to_owned();
    }
    let rows: Vec<_> =
        request.standing.iter().map(|row| format!("{} {}/{}", row.policy, row.given, row.wanted)).collect();
    format!("{state} ({})", rows.join(", "))
}

fn names(names: &[String]) -> String {
    names.iter().map(|name| escaped(name)).collect::<Vec<_>>().join(",")
}

/// One line, whatever is in it.
fn escaped(text: &str) -> String {
    text.escape_debug().to_string()
}

fn id(text: &str) -> Result<HeldId, String> {
    HeldId::parse(text).ok_or_else(|| "a request is named by its id, 32 hex digits".to_owned())
}

fn comment(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > 500 || text.chars().any(char::is_control) {
        return Err("a comment is 1 to 500 bytes on one line".to_owned());
    }
    Ok(text.to_owned())
}

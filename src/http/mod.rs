//! The HTTP API: reads a request into a command, and writes what came of it.
//!
//! - [`mod@router`]: every route with the credential that it needs, in one list.
//! - [`server`]: the accept loop, with its limits and its drain.
//! - `exchange`: what surrounds every request: its id, the log line, the rendering of errors.
//! - `guard`, [`access`], `cross_site`: who is asking, and whether he may.
//! - `sign`, `requests`, `certificates`, `refusals`, `policies`, `plan`, `evaluate`, `blocked_keys`, `identities`,
//!   `tokens`, `clusters`, `audit`, `status`: one file per resource.

mod accept;
pub mod access;
mod audit;
mod blocked_keys;
mod body;
mod certificates;
mod clusters;
mod cross_site;
pub mod error;
mod etag;
mod evaluate;
mod exchange;
mod guard;
mod identities;
mod issued;
mod json_line;
pub mod list;
pub mod parameters;
mod plan;
mod policies;
mod prefer;
mod refusals;
mod requests;
pub mod router;
mod rows;
pub mod server;
mod sign;
mod stats;
mod status;
mod to_the_end;
mod tokens;
mod users;
mod wish;

pub use access::Access;
pub use error::{CODES, Problem};
pub use exchange::Api;
pub use router::{ROUTES, Route, metrics_router, router};
pub use server::{BodyTime, Door, Limits, Peer, serve};

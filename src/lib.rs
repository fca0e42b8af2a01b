//! Countersign signs Kubernetes client certificates that a policy allows, and records every one.
//!
//! The path of a request, one way, in plain structs. The two in capitals are sealed: each has one
//! place that can make it, so a step that is skipped does not compile.
//!
//! ```text
//! body -> CertRequest -> Ask -> APPROVED -> Signed -> RECORDED -> answer
//! http    pki::csr       app    policy      ca        store       http
//! ```
//!
//! [`app::issue`] is that path on one page. The modules, from the ground up; each imports only
//! from those above it in this list (`tests/architecture.rs` checks it):
//!
//! - [`time`]: instants, lifetimes and how they are written.
//! - [`random`]: the one source of random octets.
//! - [`pki`]: what a CSR says: names, keys, serials. Pure.
//! - [`caller`]: who asks: kind, source and name. Pure.
//! - [`policy`]: rows, patterns and the decision. Pure; the only place that makes an `Approved`.
//! - [`kubeconfig`]: renders one. Pure.
//! - [`clock`]: the one place that reads the time of day.
//! - [`ca`]: loads a client CA, and is the only place that signs and that encodes a certificate.
//! - [`tls`]: the service's own certificate, and what clients show in the handshake.
//! - [`audit`]: what an event is.
//! - [`store`]: the ledger; the only place that names sqlx and rusqlite, and the only one that makes a `Recorded`.
//! - [`replay`]: decisions of the ledger, taken again under a policy set.
//! - [`filters`]: what a reader of the ledger asks for, read strictly.
//! - [`export`]: rows of the ledger as JSON and CSV.
//! - [`auth`]: credentials to a [`caller::Caller`] with roles.
//! - [`metrics`], [`telemetry`]: what operators see.
//! - [`app`]: the use cases.
//! - [`http`]: the API, and the only place that names axum.
//! - [`config`]: the configuration file, composed of every module's own settings.
//! - [`cli`]: the commands, and the only place that prints.

pub mod app;
pub mod audit;
pub mod auth;
pub mod ca;
pub mod caller;
pub mod cli;
pub mod clock;
pub mod config;
pub mod export;
pub mod filters;
pub mod http;
pub mod kubeconfig;
pub mod metrics;
pub mod pki;
pub mod policy;
pub mod random;
pub mod replay;
pub mod store;
pub mod telemetry;
pub mod time;
pub mod tls;

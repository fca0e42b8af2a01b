//! The API in process: the real router over a real ledger, every answer held against openapi.yaml.
//! The files under `routes` follow the paths of the API.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test that cannot go on should stop"
)]

mod access;
mod app;
mod callers;
mod check;
mod company;
mod csr;
mod database;
mod door;
mod errors;
mod hostile;
mod issuer;
mod limits;
mod metrics;
#[path = "../support/openapi.rs"]
mod openapi;
#[path = "../support/postgres.rs"]
mod postgres;
mod routes;

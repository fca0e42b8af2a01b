//! `countersign serve`.

mod reload;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::{App, StartError};
use crate::clock::Clock;
use crate::config::Config;
use crate::http::{self, server::Limits};
use crate::metrics::Metrics;
use crate::telemetry;
use crate::tls::Tls;

use super::{descriptors, open, operator};
use reload::{Reloader, Watched};

/// How often the changes of other processes are taken over for reading. Issuing does not wait for
/// it: the recording transaction looks for itself.
const REFRESH: Duration = Duration::from_millis(500);

/// Enough for who asks for metrics.
const METRICS_CONNECTIONS: usize = 32;

/// How often what is only noted is written: reads of the ledger, authentications, uses of tokens.
const WRITE_NOTES: Duration = Duration::from_mins(1);

/// How often held requests whose time is over are ended. They count as lapsed before that.
const LAPSE: Duration = Duration::from_secs(30);

/// How often it is looked whether the keys of an issuer are due.
const KEYS: Duration = Duration::from_secs(15);

/// The listening sockets of one service.
pub(super) struct Listeners {
    pub api: TcpListener,
    pub metrics: Option<TcpListener>,
}

impl Listeners {
    /// Binds what the configuration names.
    pub(super) async fn bind(config: &Config) -> Result<Self> {
        let api = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("listen = \"{}\"", config.listen))?;
        let metrics = match config.metrics_listen {
            None => None,
            Some(address) => {
                let listener = TcpListener::bind(address).await;
                Some(listener.with_context(|| format!("metrics_listen = \"{address}\""))?)
            }
        };
        Ok(Self { api, metrics })
    }
}

/// Serves until SIGTERM or SIGINT, then finishes what is under way.
pub(super) async fn run(path: &Path) -> Result<()> {
    let config = &Config::read(path)?;
    let _logging = telemetry::init(config.log_format, &config.log)?;
    let shutdown = CancellationToken::new();
    stop_on_signal(&shutdown)?;
    let listeners = Listeners::bind(config).await?;
    launch(config, path, listeners, shutdown).await
}

/// Runs the service of the configuration at `path` on `listeners` until `shutdown` is cancelled.
pub(super) async fn launch(
    config: &Config,
    path: &Path,
    listeners: Listeners,
    shutdown: CancellationToken,
) -> Result<()> {
    let watched = Watched::new(path, config)?;
    let tls = config.tls.clone().map(Tls::load).transpose()?.map(Arc::new);
    let store = open(config).await?;
    store.lock_for_serving()?;
    let retained = store.set_retention(config.retention, Clock::System.now(), &operator::origin()?).await;
    retained.with_context(|| config.store.to_string())?;
    let app = App::start(config.clusters.clone(), store.clone(), Clock::System, Metrics::default()).await;
    let app = app.map_err(|error| told(error, config))?.with_refusal_limits(config.refusals);
    let app = app.with_rate_limits(config.rates).with_failure_limits(config.failures);
    let ways = app.state().served.open_ways(&config.auth).map_err(anyhow::Error::msg)?;
    ways.issuers.first_look().await;
    let app = Arc::new(app.with_review_limits(config.review).with_ways(ways));
    if let Some(tls) = &tls {
        app.metrics.tls_not_after(tls.current().not_after);
    }
    let reloader = Reloader::new(Arc::clone(&app), tls.clone(), watched);
    let reloader = tokio::spawn(reloader.run(shutdown.clone()));
    let refresher = tokio::spawn(keep_fresh(Arc::clone(&app), shutdown.clone()));
    let notes = tokio::spawn(write_notes(Arc::clone(&app), shutdown.clone()));
    let lapses = tokio::spawn(lapse_requests(Arc::clone(&app), shutdown.clone()));
    let keys = tokio::spawn(refresh_keys(Arc::clone(&app), shutdown.clone()));
    let metrics = listeners.metrics.map(|listener| {
        tokio::spawn(http::server::serve(
            listener,
            None,
            http::metrics_router(Arc::clone(&app)),
            Limits { connections: METRICS_CONNECTIONS, ..Limits::default() },
            shutdown.clone(),
        ))
    });
    let mut limits = config.connections.clone();
    limits.connections = descriptors::for_connections(limits.connections);
    let address = listeners.api.local_addr()?;
    let clusters = app.state().served.clusters.len();
    tracing::info!(%address, clusters, tls = tls.is_some(), "serving");
    http::server::serve(listeners.api, tls, http::router(Arc::clone(&app)), limits, shutdown).await;
    if let Some(metrics) = metrics {
        metrics.await?;
    }
    reloader.await?;
    refresher.await?;
    notes.await?;
    lapses.await?;
    keys.await?;
    app.finish_logins();
    app.write_notes().await;
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Says which ledger, where it is the ledger that stands in the way.
fn told(error: StartError, config: &Config) -> anyhow::Error {
    match error {
        StartError::Store(error) => anyhow::Error::new(error).context(config.store.to_string()),
        other => other.into(),
    }
}

async fn keep_fresh(app: Arc<App>, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(REFRESH)).await.is_some() {
        if let Err(error) = app.refresh().await {
            tracing::warn!(error.code = error.code(), "the ledger's changes could not be read");
        }
    }
}

/// Writes what was noted, once a minute.
async fn write_notes(app: Arc<App>, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(WRITE_NOTES)).await.is_some() {
        app.write_notes().await;
    }
}

/// Ends held requests whose time is over.
async fn lapse_requests(app: Arc<App>, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(LAPSE)).await.is_some() {
        app.lapse_requests().await;
    }
}

/// Takes over the keys that issuers have now.
async fn refresh_keys(app: Arc<App>, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(KEYS)).await.is_some() {
        // A look goes on by itself, so nothing is lost where nobody waits for it.
        shutdown.run_until_cancelled(app.refresh_keys()).await;
    }
}

/// Cancels `shutdown` at the first SIGTERM or SIGINT.
pub(super) fn stop_on_signal(shutdown: &CancellationToken) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    });
    Ok(())
}

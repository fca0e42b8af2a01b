//! Reads files again while the service runs: its TLS certificate, and the clusters.
//!
//! What is wrong with a new file is said once, and what held goes on.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::cluster::ClusterSettings;
use crate::cli::operator;
use crate::config::Config;
use crate::tls::files::Marks;
use crate::tls::{Tls, TlsSettings};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// The files that can be read again, as they were before they were read for the first time, so that
/// no change is missed.
pub(super) struct Watched {
    /// The configuration file.
    path: PathBuf,
    /// What it said at the start.
    running: Config,
    tls_files: Marks,
    cluster_files: Marks,
    hang_up: Option<Signal>,
}

/// What of the service can be read again.
pub(super) struct Reloader {
    app: Arc<App>,
    tls: Option<Arc<Tls>>,
    watched: Watched,
}

impl Watched {
    /// Those of the configuration at `path`. From here on a SIGHUP ends nothing.
    ///
    /// # Errors
    /// The signal cannot be listened for.
    pub(super) fn new(path: &Path, config: &Config) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            running: config.clone(),
            tls_files: Marks::of(config.tls.iter().flat_map(TlsSettings::files)),
            cluster_files: Marks::of(files(path, &config.clusters)),
            hang_up: Some(signal(SignalKind::hangup()).context("SIGHUP")?),
        })
    }
}

impl Reloader {
    pub(super) fn new(app: Arc<App>, tls: Option<Arc<Tls>>, watched: Watched) -> Self {
        Self { app, tls, watched }
    }

    /// Looks every few seconds, and at once after a SIGHUP, until `shutdown`.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let asked = tokio::select! {
                () = shutdown.cancelled() => return,
                () = hung_up(&mut self.watched.hang_up) => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            self.look(asked).await;
        }
    }

    async fn look(&mut self, asked: bool) {
        let tls_files = self.watched.tls_files.again();
        if asked || tls_files != self.watched.tls_files {
            self.watched.tls_files = tls_files;
            self.reload_tls().await;
        }
        let cluster_files = self.watched.cluster_files.again();
        if asked || cluster_files != self.watched.cluster_files {
            self.watched.cluster_files = cluster_files;
            self.reload_clusters().await;
        }
    }

    async fn reload_tls(&self) {
        let Some(tls) = self.tls.clone() else { return };
        let reloaded = tokio::task::spawn_blocking(move || tls.reload()).await;
        match reloaded {
            Ok(Ok(current)) => {
                self.app.metrics.reloaded("tls", true);
                self.app.metrics.tls_not_after(current.not_after);
                let fingerprint = hex::encode(current.fingerprint);
                tracing::info!(
                    tls.fingerprint_sha256 = fingerprint,
                    tls.not_after = %current.not_after,
                    "the TLS certificate was read again"
                );
            }
            Ok(Err(error)) => {
                self.app.metrics.reloaded("tls", false);
                tracing::error!(%error, "the TLS certificate stays as it was, because a new file is wrong");
            }
            Err(_) => tracing::error!("reading the TLS certificate broke off"),
        }
    }

    async fn reload_clusters(&mut self) {
        match self.try_clusters().await {
            Ok(None) => tracing::info!("the clusters were read again: nothing of them has changed"),
            Ok(Some(changes)) => {
                self.app.metrics.reloaded("clusters", true);
                tracing::info!(clusters.changes = changes, "the clusters were read again");
            }
            Err(error) => {
                self.app.metrics.reloaded("clusters", false);
                let error = crate::cli::one_line(&error);
                tracing::error!(error, "the clusters stay as they were, because a new file is wrong");
            }
        }
    }

    /// Says what of the configuration file is not what runs: nobody should take for revoked what goes on.
    fn tell_waiting(&self, config: &Config) {
        let waiting = self.watched.running.waiting(config);
        if !waiting.is_empty() {
            tracing::warn!(
                config.sections = waiting.join(", "),
                "these sections of the configuration file are not what runs: they wait for a restart"
            );
        }
    }

    /// What has changed, as JSON.
    async fn try_clusters(&mut self) -> Result<Option<String>> {
        let path = self.watched.path.clone();
        let config = tokio::task::spawn_blocking(move || Config::read(&path)).await??;
        // Before they are read, so that a change in between is seen the next time.
        self.watched.cluster_files = Marks::of(files(&self.watched.path, &config.clusters));
        self.tell_waiting(&config);
        let changes = self.app.reload_clusters(config.clusters, &operator::origin()?).await?;
        Ok(if changes.is_empty() { None } else { Some(serde_json::to_string(&changes)?) })
    }
}

fn files(config: &Path, clusters: &[ClusterSettings]) -> Vec<PathBuf> {
    std::iter::once(config.to_owned()).chain(clusters.iter().flat_map(ClusterSettings::files)).collect()
}

/// A signal that comes no more is waited for without end.
async fn hung_up(signals: &mut Option<Signal>) {
    let Some(signal) = signals else { return pending().await };
    if signal.recv().await.is_none() {
        *signals = None;
    }
}

//! What is signed for, as of one reading of the configuration, and how the next one takes its place.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use serde::Serialize;

use super::cluster::{self, Cluster, ClusterError, ClusterSettings};
use super::{App, AppError, StartError, State, compile};
use crate::audit::Origin;
use crate::auth::{AuthSettings, Ways};
use crate::metrics::Metrics;
use crate::pki::name::ShortName;
use crate::policy::Clusters;
use crate::store::{Store, StoreError};
use crate::time::Time;
use crate::tls::{ClientAuthorities, ClientCertificate, Unverified};

/// The clusters that one reading of the configuration gave. A request holds on to one of these from
/// its decision to its signature.
pub struct Served {
    pub clusters: BTreeMap<ShortName, Arc<Cluster>>,
    /// What deciding needs of them.
    pub rules: Arc<Clusters>,
    /// Who vouches for certificates of ours: the CA of each cluster, and nothing above it. One set for each,
    /// so that a CA that clients cannot be verified by ends no other cluster's renewals.
    authorities: Vec<ClientAuthorities>,
    /// The CA key of every cluster that this process ever signed for, also of those that are gone: a
    /// name that comes back comes back with its own key.
    keys: BTreeMap<ShortName, [u8; 32]>,
}

/// What a new reading changed, by the names of clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClusterChanges {
    pub added: Vec<ShortName>,
    pub removed: Vec<ShortName>,
    /// Of the others, those whose settings or files are not what they were.
    pub changed: Vec<ShortName>,
}

impl ClusterChanges {
    /// Whether everything is as it was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl Served {
    /// Reads and checks every cluster.
    ///
    /// # Errors
    /// See [`cluster::load_all`].
    pub fn load(settings: Vec<ClusterSettings>) -> Result<Self, ClusterError> {
        let (clusters, rules) = cluster::load_all(settings)?;
        let clusters: BTreeMap<_, _> =
            clusters.into_iter().map(|(name, cluster)| (name, Arc::new(cluster))).collect();
        let keys = clusters.iter().map(|(name, cluster)| (name.clone(), cluster.authority.spki_sha256()));
        let authorities = clusters.values().filter_map(|cluster| anchor(cluster)).collect();
        Ok(Self { keys: keys.collect(), rules: Arc::new(rules), authorities, clusters })
    }

    /// The cluster of that name, or the only one.
    ///
    /// # Errors
    /// `ClusterRequired`, `ClusterUnknown`.
    pub fn cluster(&self, asked: Option<&str>) -> Result<&Arc<Cluster>, AppError> {
        let known = || self.clusters.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match asked {
            None if self.clusters.len() > 1 => Err(AppError::ClusterRequired(known())),
            None => self.clusters.values().next().ok_or_else(|| AppError::Internal("no cluster".to_owned())),
            Some(asked) => self.find(asked).ok_or_else(|| AppError::ClusterUnknown {
                asked: asked.chars().take(64).collect(),
                known: known(),
            }),
        }
    }

    /// The cluster of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.clusters.values().find(|cluster| cluster.name.as_str() == name)
    }

    /// Whether a CA that signs here signed `certificate`, whatever is wrong with it otherwise.
    pub(super) fn has_signed(&self, certificate: &ClientCertificate) -> bool {
        self.clusters.values().any(|cluster| cluster.authority.has_signed(certificate.der()))
    }

    /// Whether `certificate` is of a CA that signs here, and valid at `now`.
    ///
    /// # Errors
    /// See [`Unverified`].
    pub(super) fn vouches(&self, certificate: &ClientCertificate, now: Time) -> Result<(), Unverified> {
        let mut why = Unverified::Foreign;
        for authority in &self.authorities {
            match authority.verify(certificate, now) {
                Ok(()) => return Ok(()),
                Err(Unverified::Expired) => why = Unverified::Expired,
                Err(Unverified::Foreign) => {}
            }
        }
        Err(why)
    }

    /// Opens the configured ways to authenticate beside these clusters: names, files, and the keys in files.
    /// Nothing is fetched.
    ///
    /// # Errors
    /// One sentence, with the key's path where there is one.
    pub fn open_ways(&self, settings: &AuthSettings) -> Result<Ways, String> {
        let ways = Ways::open(settings, self.clusters.keys().cloned())?;
        self.check_ways(&ways)?;
        Ok(ways)
    }

    /// Makes sure that no way to authenticate has the name of a cluster, and that none trusts a CA of ours,
    /// nor one above it.
    ///
    /// # Errors
    /// One sentence.
    fn check_ways(&self, ways: &Ways) -> Result<(), String> {
        self.clusters.values().try_for_each(|cluster| {
            ways.sources.check_cluster(&cluster.name)?;
            ways.doors.check_cluster(cluster.name.as_str(), &cluster.authority)
        })
    }

    /// Notes each CA in the ledger, and its end in the metrics.
    pub(super) async fn register(
        &self,
        store: &Store,
        metrics: &Metrics,
        now: Time,
    ) -> Result<(), StoreError> {
        for cluster in self.clusters.values() {
            let authority = &cluster.authority;
            let (key, certificate) = (authority.spki_sha256(), authority.certificate_der());
            store.register_authority(cluster.name.as_str(), key, certificate, now).await?;
            metrics.ca_not_after(cluster.name.as_str(), authority.not_after());
            if cluster.shares_server_ca {
                tracing::warn!(
                    cluster.name = %cluster.name,
                    "the client CA is also the server CA: whoever holds its key can also be the API server"
                );
            }
        }
        Ok(())
    }

    /// This reading in the place of `before`.
    fn after(mut self, before: &Self) -> Result<(Self, ClusterChanges), ReloadError> {
        let mut changes = ClusterChanges::default();
        for (name, cluster) in &self.clusters {
            if before.keys.get(name).is_some_and(|key| *key != cluster.authority.spki_sha256()) {
                return Err(ReloadError::KeyChanged(name.to_string()));
            }
            match before.clusters.get(name) {
                None => changes.added.push(name.clone()),
                Some(old) if !old.is_same(cluster) => changes.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        let gone = before.clusters.keys().filter(|name| !self.clusters.contains_key(*name));
        changes.removed = gone.cloned().collect();
        for (name, key) in &before.keys {
            self.keys.entry(name.clone()).or_insert(*key);
        }
        Ok((self, changes))
    }
}

/// What certificates of the cluster are verified by. Where there is none its CA still signs: nothing of it is
/// renewed, which is said.
fn anchor(cluster: &Cluster) -> Option<ClientAuthorities> {
    let anchor = cluster.anchor();
    if anchor.is_none() {
        tracing::warn!(
            cluster.name = %cluster.name,
            "the TLS library does not read the CA's certificate: no certificate of this cluster is renewed"
        );
    }
    anchor
}

impl App {
    /// Takes `settings` as what is signed for from now on, and says what that changed. Requests that
    /// were decided before are signed as they were decided.
    ///
    /// # Errors
    /// What is wrong with them, or with the policy set under them. What held goes on.
    pub async fn reload_clusters(
        &self,
        settings: Vec<ClusterSettings>,
        origin: &Origin,
    ) -> Result<ClusterChanges, ReloadError> {
        let loaded = tokio::task::spawn_blocking(move || Served::load(settings)).await;
        let loaded = loaded.map_err(|_| ReloadError::BrokeOff)??;
        let _one_at_a_time = self.refreshing.lock().await;
        let held = self.state();
        let (fresh, changes) = loaded.after(&held.served)?;
        fresh.check_ways(&self.ways).map_err(ReloadError::Way)?;
        if changes.is_empty() {
            return Ok(changes);
        }
        let snapshot = self.store.snapshot().await?;
        let policies = Arc::new(compile(&snapshot, &fresh.rules)?);
        fresh.register(&self.store, &self.metrics, self.clock.now()).await?;
        let detail = serde_json::to_value(&changes).unwrap_or_default();
        self.store.record_clusters_reloaded(detail, self.clock.now(), origin).await?;
        for name in &changes.removed {
            self.metrics.ca_gone(name.as_str());
        }
        let fresh = State { snapshot, policies, broken_policies: None, served: Arc::new(fresh) };
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(changes)
    }
}

/// Why the clusters stay as they were.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(
        "cluster `{0}` has another CA key than before: a CA is not changed under way. Restart the service to sign with \
         the new one, once every API server of the cluster trusts it, or add it under a new name"
    )]
    KeyChanged(String),
    #[error("{0}")]
    Way(String),
    #[error(transparent)]
    Policies(#[from] StartError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("reading the files broke off")]
    BrokeOff,
}

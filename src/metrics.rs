//! What operators count: one struct, a method per fact, rendered as `OpenMetrics` text.
//!
//! No label ever holds a user, a caller or anything else that a client chooses: each such value
//! would be a series that lives until the process ends.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::time::Time;

/// The Content-Type of what [`Metrics::render`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The value of a label whose own value is not one of a short list.
const OTHER: &str = "other";
/// More route templates than the API has. Should a path ever come in the place of a template, the
/// number of series stays bounded.
const MOST_ROUTES: usize = 64;
/// Upper bounds in seconds: an answer takes 100 µs to a few milliseconds, and at most the 5 s
/// after which a storage error is one.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabels {
    cluster: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    what: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    rate: &'static str,
    of: &'static str,
}

/// Every count of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    routes: RwLock<BTreeSet<String>>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    issued: Family<ClusterLabels, Counter>,
    refused: Family<CodeLabels, Counter>,
    not_recorded: Counter,
    limited: Family<LimitLabels, Counter>,
    failed: Family<ReasonLabels, Counter>,
    failures_not_audited: Counter,
    logins_not_audited: Counter,
    queue_length: Gauge,
    reads_not_audited: Counter,
    pending: Gauge,
    ca_not_after: Family<ClusterLabels, Gauge>,
    started: Gauge,
    tls_not_after: Gauge,
    reloads: Family<ReloadLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            routes: RwLock::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds_histogram),
            issued: Family::default(),
            refused: Family::default(),
            not_recorded: Counter::default(),
            limited: Family::default(),
            failed: Family::default(),
            failures_not_audited: Counter::default(),
            logins_not_audited: Counter::default(),
            queue_length: Gauge::default(),
            reads_not_audited: Counter::default(),
            pending: Gauge::default(),
            ca_not_after: Family::default(),
            started: Gauge::default(),
            tls_not_after: Gauge::default(),
            reloads: Family::default(),
        };
        metrics.register_requests();
        metrics.register_callers();
        metrics.register_ledger();
        metrics.register_process();
        metrics
    }
}

impl Metrics {
    /// `OpenMetrics` text; see [`CONTENT_TYPE`].
    #[must_use]
    pub fn render(&self) -> String {
        let mut rendered = String::new();
        // Writing into a String does not fail.
        let _ = text::encode(&mut rendered, &self.registry);
        rendered
    }

    /// A finished HTTP request: route template, method, status, and how long it took in seconds.
    pub fn request(&self, route: &str, method: &str, status: u16, seconds: f64) {
        let route = self.bounded_route(route);
        let method = bounded_method(method);
        let status = if (100..=599).contains(&status) { status } else { 0 };
        self.requests.get_or_create(&RequestLabels { route: route.clone(), method, status }).inc();
        self.request_seconds.get_or_create(&RouteLabels { route, method }).observe(seconds);
    }

    /// A certificate of this cluster is recorded. A cluster whose CA was never told counts as
    /// `other`.
    pub fn issued(&self, cluster: &str) {
        let mut labels = ClusterLabels { cluster: cluster.to_owned() };
        if self.ca_not_after.get(&labels).is_none() {
            OTHER.clone_into(&mut labels.cluster);
        }
        self.issued.get_or_create(&labels).inc();
    }

    /// A request was refused with this stable error code.
    pub fn refused(&self, code: &'static str) {
        self.refused.get_or_create(&CodeLabels { code }).inc();
    }

    /// A caller that was refused too often was refused once more, without a record.
    pub fn refusal_not_recorded(&self) {
        self.not_recorded.inc();
    }

    /// A request, to sign or another, came past the limit of its caller, or of all.
    pub fn limited(&self, signing: bool, of_all: bool) {
        let rate = if signing { "signing" } else { "reading" };
        self.limited.get_or_create(&LimitLabels { rate, of: if of_all { "all" } else { "caller" } }).inc();
    }

    /// A request showed no credential, or none that holds, for this one of few reasons.
    pub fn authentication_failed(&self, reason: &'static str) {
        self.failed.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// So many failed authentications leave no event.
    pub fn failures_not_audited(&self, count: u64) {
        self.failures_not_audited.inc_by(count);
    }

    /// So many authentications leave no event.
    pub fn logins_not_audited(&self, count: u64) {
        self.logins_not_audited.inc_by(count);
    }

    /// This many requests wait for the ledger's writer.
    pub fn writer_queue(&self, length: usize) {
        self.queue_length.set(i64::try_from(length).unwrap_or(i64::MAX));
    }

    /// So many reads by auditors leave no event.
    pub fn reads_not_audited(&self, count: u64) {
        self.reads_not_audited.inc_by(count);
    }

    /// This many requests wait for people.
    pub fn pending_requests(&self, count: i64) {
        self.pending.set(count);
    }

    /// The instant at which the service's own TLS certificate expires.
    pub fn tls_not_after(&self, not_after: Time) {
        self.tls_not_after.set(not_after.unix());
    }

    /// Files that changed were read again: those of `tls` or of `clusters`. What was wrong was left
    /// where it is, and what held goes on.
    pub fn reloaded(&self, what: &'static str, taken: bool) {
        let outcome = if taken { "taken" } else { "refused" };
        self.reloads.get_or_create(&ReloadLabels { what, outcome }).inc();
    }

    /// A cluster is configured no more.
    pub fn ca_gone(&self, cluster: &str) {
        self.ca_not_after.remove(&ClusterLabels { cluster: cluster.to_owned() });
    }

    /// The instant at which the CA of a configured cluster expires. To be told for each cluster
    /// whenever its files were read.
    pub fn ca_not_after(&self, cluster: &str, not_after: Time) {
        let labels = ClusterLabels { cluster: cluster.to_owned() };
        self.ca_not_after.get_or_create(&labels).set(not_after.unix());
    }

    /// The instant at which the process started.
    pub fn started(&self, at: Time) {
        self.started.set(at.unix());
    }

    fn bounded_route(&self, route: &str) -> String {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner).contains(route);
        if known {
            return route.to_owned();
        }
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        if routes.len() < MOST_ROUTES && route.len() <= 128 {
            routes.insert(route.to_owned());
            return route.to_owned();
        }
        if routes.contains(route) { route.to_owned() } else { OTHER.to_owned() }
    }

    fn register_requests(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "countersign_http_requests",
            "HTTP requests by route template, method and status",
            self.requests.clone(),
        );
        registry.register(
            "countersign_http_request_duration_seconds",
            "How long HTTP requests took",
            self.request_seconds.clone(),
        );
    }

    fn register_callers(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "countersign_requests_limited",
            "Requests past a limit, by what they asked for and whose limit it was",
            self.limited.clone(),
        );
        registry.register(
            "countersign_authentications_failed",
            "Requests without a credential that holds, by reason",
            self.failed.clone(),
        );
        registry.register(
            "countersign_failed_authentications_not_audited",
            "Failed authentications of which the audit log has no event",
            self.failures_not_audited.clone(),
        );
        registry.register(
            "countersign_authentications_not_audited",
            "Authentications of which the audit log has no event",
            self.logins_not_audited.clone(),
        );
    }

    fn register_ledger(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "countersign_certificates_issued",
            "Certificates recorded and released, by cluster",
            self.issued.clone(),
        );
        registry.register(
            "countersign_refusals",
            "Requests refused, by stable error code",
            self.refused.clone(),
        );
        registry.register(
            "countersign_refusals_not_recorded",
            "Requests refused past the limit of their caller, which leave no record",
            self.not_recorded.clone(),
        );
        registry.register(
            "countersign_ledger_queue_length",
            "Requests that wait for the ledger's writer",
            self.queue_length.clone(),
        );
        registry.register(
            "countersign_ledger_reads_not_audited",
            "Reads by auditors of which the audit log has no event",
            self.reads_not_audited.clone(),
        );
        registry.register(
            "countersign_requests_pending",
            "Requests that wait for people to approve them, as of the last half minute",
            self.pending.clone(),
        );
    }

    fn register_process(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "countersign_ca_not_after_seconds",
            "When a cluster's CA expires, in seconds since 1970",
            self.ca_not_after.clone(),
        );
        registry.register(
            "countersign_tls_not_after_seconds",
            "When the service's own TLS certificate expires, in seconds since 1970; 0 without TLS",
            self.tls_not_after.clone(),
        );
        registry.register(
            "countersign_reloads",
            "Changed files that were read again, by what they are and whether they were taken",
            self.reloads.clone(),
        );
        registry.register(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970",
            self.started.clone(),
        );
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("countersign_build", "The version of this program", build);
    }
}

fn seconds_histogram() -> Histogram {
    Histogram::new(SECONDS)
}

/// A client may send any token as its method (RFC 9110 section 9.1).
fn bounded_method(method: &str) -> &'static str {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(metrics: &Metrics, line: &str) {
        let rendered = metrics.render();
        assert!(rendered.lines().any(|rendered| rendered == line), "{line}\n{rendered}");
    }

    #[test]
    fn each_fact_has_its_line() {
        let metrics = Metrics::default();
        metrics.request("/v1/sign", "POST", 201, 0.002);
        metrics.ca_not_after("prod", Time::from_unix(1_800_000_000));
        metrics.issued("prod");
        metrics.refused("policy_denied");
        metrics.refusal_not_recorded();
        metrics.limited(true, false);
        metrics.authentication_failed("wrong");
        metrics.failures_not_audited(3);
        metrics.logins_not_audited(4);
        metrics.writer_queue(7);
        metrics.pending_requests(3);
        metrics.tls_not_after(Time::from_unix(1_900_000_000));
        metrics.reloaded("tls", true);
        metrics.reloaded("clusters", false);
        metrics.started(Time::from_unix(1_700_000_000));
        for line in [
            "countersign_http_requests_total{route=\"/v1/sign\",method=\"POST\",status=\"201\"} 1",
            "countersign_http_request_duration_seconds_count{route=\"/v1/sign\",method=\"POST\"} 1",
            "countersign_http_request_duration_seconds_bucket{le=\"0.0025\",route=\"/v1/sign\",method=\"POST\"} 1",
            "countersign_certificates_issued_total{cluster=\"prod\"} 1",
            "countersign_refusals_total{code=\"policy_denied\"} 1",
            "countersign_refusals_not_recorded_total 1",
            "countersign_requests_limited_total{rate=\"signing\",of=\"caller\"} 1",
            "countersign_authentications_failed_total{reason=\"wrong\"} 1",
            "countersign_failed_authentications_not_audited_total 3",
            "countersign_authentications_not_audited_total 4",
            "countersign_ledger_queue_length 7",
            "countersign_requests_pending 3",
            "countersign_ca_not_after_seconds{cluster=\"prod\"} 1800000000",
            "countersign_tls_not_after_seconds 1900000000",
            "countersign_reloads_total{what=\"tls\",outcome=\"taken\"} 1",
            "countersign_reloads_total{what=\"clusters\",outcome=\"refused\"} 1",
            "process_start_time_seconds 1700000000",
            concat!("countersign_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            has(&metrics, line);
        }
        assert!(metrics.render().ends_with("# EOF\n"));
    }

    #[test]
    fn what_a_client_chooses_makes_no_new_series() {
        let metrics = Metrics::default();
        metrics.ca_not_after("prod", Time::from_unix(0));
        let lines = |metrics: &Metrics| metrics.render().lines().count();
        for i in 0..MOST_ROUTES {
            metrics.request(&format!("/route/{i}"), "GET", 200, 0.0);
        }
        metrics.request("/a", "BREW", 900, 0.0);
        metrics.issued("unheard-of");
        let before = lines(&metrics);
        for i in 0..1_000_u16 {
            metrics.request(&format!("/v1/{i}"), &format!("M{i}"), 600 + i, 0.0);
            metrics.issued(&format!("c{i}"));
        }
        assert_eq!(lines(&metrics), before);
        has(&metrics, "countersign_http_requests_total{route=\"other\",method=\"other\",status=\"0\"} 1001");
        has(&metrics, "countersign_certificates_issued_total{cluster=\"other\"} 1001");
        metrics.request("/route/3", "GET", 200, 0.0);
        has(&metrics, "countersign_http_requests_total{route=\"/route/3\",method=\"GET\",status=\"200\"} 2");
    }
}

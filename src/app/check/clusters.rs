//! The configuration of each cluster, and the files that it names.

use crate::ca::stored::KnownCa;
use crate::time::Time;

use super::Report;
use crate::app::cluster::{Cluster, ClusterSettings, load_all};

/// How long before its end a CA is worth a warning, in seconds: thirty days, in which a new one can
/// be made and given to every API server.
const SOON: i64 = 30 * 86_400;

/// Loads every cluster as `serve` does, and returns the CAs of those that load, each with the first
/// instant of its chain.
pub fn clusters(settings: &[ClusterSettings], now: Time, report: &mut Report<'_>) -> Vec<(KnownCa, Time)> {
    report.part("the configuration and the CA files", None);
    let mut known = Vec::new();
    let mut all_load = true;
    for one in settings {
        match Cluster::load(one.clone()) {
            Ok(cluster) => known.extend(check(&cluster, now, report)),
            Err(error) => {
                all_load = false;
                report.wrong("configuration", error.to_string());
            }
        }
    }
    if all_load && let Err(error) = load_all(settings.to_vec()) {
        report.wrong("configuration", error.to_string());
    }
    known
}

fn check(cluster: &Cluster, now: Time, report: &mut Report<'_>) -> Option<(KnownCa, Time)> {
    let about = format!("cluster {}", cluster.name);
    let authority = &cluster.authority;
    if cluster.shares_server_ca {
        let text = "the client CA is also the server CA: whoever holds its key can also be the API server";
        report.warning(&about, text);
    }
    if cluster.anchor().is_none() {
        let text = "the TLS library does not read its CA's certificate: nothing of it is renewed";
        report.warning(&about, text);
    }
    let (from, until) = (authority.not_before(), authority.not_after());
    if now > until {
        report.wrong(&about, format!("its CA ended at {until}: nothing is signed for it; name a new one"));
    } else if now < from {
        report.wrong(&about, format!("its CA is not valid before {from}: check this machine's clock"));
    } else if until.seconds_since(now) < SOON {
        report.warning(&about, format!("its CA ends soon, at {until}: make a new one"));
    }
    match KnownCa::read(authority.certificate_der()) {
        Ok(known) => Some((known, from)),
        Err(problem) => {
            report.wrong(&about, format!("its CA: {problem}"));
            None
        }
    }
}

//! The configured ways to authenticate, and the files that they name.

use super::Report;
use crate::app::cluster::ClusterSettings;
use crate::app::served::Served;
use crate::auth::{AuthSettings, Ways};

/// Opens them as `serve` does, beside these clusters. No issuer is asked for its keys.
pub fn ways(settings: &AuthSettings, clusters: &[ClusterSettings], report: &mut Report<'_>) {
    report.part("the ways to authenticate", None);
    let opened = match Served::load(clusters.to_vec()) {
        Ok(served) => served.open_ways(settings),
        // What is wrong with the clusters is told as such: here only their names are needed.
        Err(_) => Ways::open(settings, clusters.iter().map(|cluster| cluster.name.clone())),
    };
    if let Err(problem) = opened {
        report.wrong("auth", problem);
    }
}

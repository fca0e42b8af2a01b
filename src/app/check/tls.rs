//! The files of `[tls]`.

use crate::time::Time;
use crate::tls::{Tls, TlsSettings};

use super::Report;

/// How long before its end the service's certificate is worth a warning, in seconds: a week, in which
/// whatever should have renewed it can be looked at.
const SOON: i64 = 7 * 86_400;

/// Loads them as `serve` does.
pub fn tls(settings: &TlsSettings, now: Time, report: &mut Report<'_>) {
    report.part("the TLS files", None);
    let current = match Tls::load(settings.clone()) {
        Ok(tls) => tls.current(),
        Err(error) => return report.wrong("tls", error.to_string()),
    };
    let (from, until) = (current.not_before, current.not_after);
    if now > until {
        report.wrong("tls", format!("the service's certificate ended at {until}: clients refuse it"));
    } else if now < from {
        let text =
            format!("the service's certificate is not valid before {from}: check this machine's clock");
        report.wrong("tls", text);
    } else if until.seconds_since(now) < SOON {
        report.warning("tls", format!("the service's certificate ends soon, at {until}"));
    }
}

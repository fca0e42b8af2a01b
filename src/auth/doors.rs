//! What else than `Authorization` may name a caller: certificates of other authorities, and proxies.

use super::mtls::{MtlsSettings, MtlsSource};
use super::proxy::{ProxySettings, TrustedProxy};
use super::sources::Sources;
use super::{AuthError, Presented};
use crate::ca::Authority;
use crate::caller::{Caller, CallerKind};
use crate::time::Time;
use crate::tls::{ClientAuthorities, ClientCertificate, Unverified};

/// The sources of both kinds, opened.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    mtls: Vec<MtlsSource>,
    proxies: Vec<TrustedProxy>,
}

/// Adds the names of both kinds to `sources`.
///
/// # Errors
/// The key's path and what is wrong with its value.
pub(super) fn add(
    sources: &mut Sources,
    mtls: &[MtlsSettings],
    proxies: &[ProxySettings],
) -> Result<(), String> {
    for (index, one) in mtls.iter().enumerate() {
        let added = sources.add(CallerKind::Proxy, &one.name);
        added.map_err(|reason| format!("auth.mtls[{index}].name: {reason}"))?;
    }
    for (index, one) in proxies.iter().enumerate() {
        let added = sources.add(CallerKind::Proxy, &one.name);
        added.map_err(|reason| format!("auth.proxy[{index}].name: {reason}"))?;
        one.check().map_err(|reason| format!("auth.proxy[{index}]: {reason}"))?;
    }
    Ok(())
}

impl Doors {
    /// Reads the files of both kinds.
    ///
    /// # Errors
    /// The key's path and what is wrong with its value: also where one authority would count for two
    /// sources, so that nobody could tell whose callers its certificates are.
    pub fn open(mtls: &[MtlsSettings], proxies: &[ProxySettings]) -> Result<Self, String> {
        let mut doors = Self::default();
        for (index, settings) in mtls.iter().enumerate() {
            let opened = MtlsSource::open(settings);
            doors.mtls.push(opened.map_err(|error| format!("auth.mtls[{index}].ca: {error}"))?);
        }
        for (index, settings) in proxies.iter().enumerate() {
            let opened = TrustedProxy::open(settings);
            doors.proxies.push(opened.map_err(|error| format!("auth.proxy[{index}].{error}"))?);
        }
        doors.check_each_other()?;
        Ok(doors)
    }

    /// Makes sure that no source trusts a CA of the cluster, or one that signed a CA of it: a file often
    /// has the signing CA without the root that is above it. What no file shows is for whoever reads
    /// the certificate of a request, since one of ours is never a caller of these.
    ///
    /// # Errors
    /// A sentence that names the source.
    pub fn check_cluster(&self, cluster: &str, ca: &Authority) -> Result<(), String> {
        let trusts = |trusted: &ClientAuthorities| ca.chain_certificates().any(|one| trusted.cover(one));
        match self.sources().into_iter().find(|(_, trusted)| trusts(trusted)) {
            None => Ok(()),
            Some((source, _)) => Err(format!(
                "auth source `{source}` trusts a CA of cluster `{cluster}`, or one above it, so every certificate \
                 that this service issues would be a caller: give it a CA of its own"
            )),
        }
    }

    /// Whether headers can name a caller here.
    #[must_use]
    pub fn reads_headers(&self) -> bool {
        !self.proxies.is_empty()
    }

    /// The caller that a trusted proxy names; none where the request comes from none.
    ///
    /// # Errors
    /// Its headers are not sound, or two proxies name one.
    pub fn proxied(&self, presented: &Presented<'_>, now: Time) -> Result<Option<Caller>, AuthError> {
        let mut found = None;
        for proxy in &self.proxies {
            if let Some(caller) = proxy.caller(presented, now)?
                && found.replace(caller).is_some()
            {
                return Err(AuthError::SeveralCredentials);
            }
        }
        Ok(found)
    }

    /// Whether a header of some proxy is there, whoever sent it.
    #[must_use]
    pub fn are_spoken_for(&self, presented: &Presented<'_>) -> bool {
        self.proxies.iter().any(|proxy| proxy.is_spoken_for(presented))
    }

    /// Whether a secret is shown that no proxy has, or not there where it comes from.
    #[must_use]
    pub fn wrong_secret(&self, presented: &Presented<'_>, now: Time) -> bool {
        let known: Vec<_> =
            self.proxies.iter().filter_map(|proxy| proxy.knows_secret(presented, now)).collect();
        !known.is_empty() && !known.contains(&true)
    }

    /// The source that vouches for `certificate` at `now`.
    ///
    /// # Errors
    /// None does, or did.
    pub fn certified(&self, certificate: &ClientCertificate, now: Time) -> Result<&MtlsSource, Unverified> {
        let mut why = Unverified::Foreign;
        for source in &self.mtls {
            match source.vouches(certificate, now) {
                Ok(()) => return Ok(source),
                Err(Unverified::Expired) => why = Unverified::Expired,
                Err(Unverified::Foreign) => {}
            }
        }
        Err(why)
    }

    /// Whether any source would take `certificate` at `now`: for a caller's, or for a proxy's.
    #[must_use]
    pub fn trust(&self, certificate: &ClientCertificate, now: Time) -> bool {
        self.sources().into_iter().any(|(_, trusted)| trusted.verify(certificate, now).is_ok())
    }

    /// Every source that knows certificates, with the authorities that it trusts.
    fn sources(&self) -> Vec<(&str, &ClientAuthorities)> {
        let mtls = self.mtls.iter().map(|source| (source.name().as_str(), source.authorities()));
        let proxies = self.proxies.iter();
        let proxies = proxies.filter_map(|proxy| Some((proxy.name().as_str(), proxy.authorities()?)));
        mtls.chain(proxies).collect()
    }

    fn check_each_other(&self) -> Result<(), String> {
        let all = self.sources();
        for (index, (name, trusted)) in all.iter().enumerate() {
            for (other, theirs) in all.iter().skip(index.saturating_add(1)) {
                if trusted.overlap(theirs) {
                    return Err(format!(
                        "auth sources `{name}` and `{other}` trust one CA, or one trusts what the other's signed, so a \
                         certificate would be of both: give each one of its own"
                    ));
                }
            }
        }
        Ok(())
    }
}

//! Client certificates of authorities that have nothing to do with any cluster: `[[auth.mtls]]`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::AuthError;
use crate::caller::{Caller, CallerKind, Claims};
use crate::pki::name::{Name, ShortName};
use crate::time::Time;
use crate::tls::client::AuthoritiesProblem;
use crate::tls::{ClientAuthorities, ClientCertificate, Unverified};

/// One `[[auth.mtls]]` table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MtlsSettings {
    /// The source in `proxy:SOURCE:NAME`.
    pub name: ShortName,
    /// PEM: the authorities whose certificates count. Never one that signs for a cluster.
    pub ca: PathBuf,
    /// What of the certificate names the caller.
    #[serde(default)]
    pub name_from: NameFrom,
}

/// What of a certificate names its holder. There must be exactly one of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameFrom {
    /// The subject's common name.
    #[default]
    Cn,
    /// The DNS name among the alternative names.
    Dns,
    /// The e-mail address among them.
    Email,
    /// The URI among them, as SPIFFE has it.
    Uri,
}

impl MtlsSettings {
    /// The same settings with every file name taken from `folder`.
    #[must_use]
    pub fn resolved_from(self, folder: &Path) -> Self {
        Self { ca: folder.join(self.ca), ..self }
    }
}

/// A source of callers by certificate, its authorities read.
#[derive(Clone, Debug)]
pub struct MtlsSource {
    name: ShortName,
    authorities: ClientAuthorities,
    name_from: NameFrom,
}

impl MtlsSource {
    /// Reads its authorities.
    ///
    /// # Errors
    /// The file that is wrong, and how.
    pub fn open(settings: &MtlsSettings) -> Result<Self, AuthoritiesProblem> {
        let authorities = ClientAuthorities::read(&settings.ca)?;
        Ok(Self { name: settings.name.clone(), authorities, name_from: settings.name_from })
    }

    /// What callers of this source are known under.
    #[must_use]
    pub fn name(&self) -> &ShortName {
        &self.name
    }

    /// Whose certificates count.
    #[must_use]
    pub fn authorities(&self) -> &ClientAuthorities {
        &self.authorities
    }

    /// Whether one of its authorities vouches for `certificate` at `now`.
    ///
    /// # Errors
    /// See [`Unverified`].
    pub fn vouches(&self, certificate: &ClientCertificate, now: Time) -> Result<(), Unverified> {
        self.authorities.verify(certificate, now)
    }

    /// The holder of `certificate`, for which this source vouches, and the instant from which it no
    /// longer holds.
    ///
    /// # Errors
    /// It names nobody, or more than one.
    pub fn caller(&self, certificate: &ClientCertificate) -> Result<(Caller, Time), AuthError> {
        let (_, parsed) =
            X509Certificate::from_der(certificate.der()).map_err(|_| AuthError::CertificateNameless)?;
        let name = only_name(&parsed, self.name_from).ok_or(AuthError::CertificateNameless)?;
        let ends = Time::from_unix(parsed.validity().not_after.timestamp().saturating_add(1));
        Ok((proxied(&self.name, &name), ends))
    }
}

/// The caller `proxy:SOURCE:NAME`, without groups.
pub(super) fn proxied(source: &ShortName, name: &Name) -> Caller {
    Caller {
        kind: CallerKind::Proxy,
        source: Some(source.clone()),
        name: name.as_str().to_owned(),
        groups: Vec::new(),
        claims: Claims::new(),
        proven: None,
    }
}

/// The one name of this kind, if it is one that a caller can have.
pub(super) fn only_name(certificate: &X509Certificate<'_>, from: NameFrom) -> Option<Name> {
    let mut names = names(certificate, from).into_iter();
    let only = names.next().filter(|_| names.next().is_none())?;
    Name::parse(only).ok()
}

/// Every name of this kind.
pub(super) fn names<'c>(certificate: &'c X509Certificate<'_>, from: NameFrom) -> Vec<&'c str> {
    if from == NameFrom::Cn {
        let subject = certificate.subject().iter_common_name();
        // What is no UTF-8 or printable text is no name, and not as if it were not there.
        return subject.map(|value| value.as_str().unwrap_or("")).collect();
    }
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let general = alternative.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    general
        .iter()
        .filter_map(|name| match (from, name) {
            (NameFrom::Dns, GeneralName::DNSName(text))
            | (NameFrom::Email, GeneralName::RFC822Name(text))
            | (NameFrom::Uri, GeneralName::URI(text)) => Some(*text),
            _ => None,
        })
        .collect()
}

//! How a certificate of the ledger goes out: as JSON, as PEM, as a kubeconfig. Only from a [`Recorded`].

use std::sync::Arc;

use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::accept::{Form, Offer};
use super::error::Problem;
use super::json_line::{JsonLine, WithLongTexts};
use super::wish::Rendering;
use crate::app::{App, Cluster};
use crate::export::{CertificateRow, credential_id, status};
use crate::kubeconfig::{KeyPath, Kubeconfig, file_name};
use crate::pki::name::{Name, ShortName};
use crate::pki::{fingerprint, pem};
use crate::store::Recorded;
use crate::time::Time;

/// A recorded certificate, with what the configuration knows of its cluster.
pub struct Issued<'a> {
    recorded: &'a Recorded,
    now: Time,
    /// None once the cluster is gone from the configuration.
    cluster: Option<Arc<Cluster>>,
    certificate: String,
}

impl<'a> Issued<'a> {
    /// Looks up what `recorded` needs to be written out.
    pub fn new(app: &'a App, recorded: &'a Recorded) -> Self {
        Self {
            recorded,
            now: app.clock.now(),
            cluster: app.state().served.find(&recorded.cluster).cloned(),
            certificate: pem::encode("CERTIFICATE", &recorded.der),
        }
    }

    /// The answer of `POST /v1/sign`, but for its status.
    ///
    /// # Errors
    /// 404 for a kubeconfig of a cluster that is gone.
    pub fn signed(
        &self,
        warnings: &[String],
        rendering: &Rendering,
        offer: Offer,
    ) -> Result<Response, Problem> {
        match offer.form {
            Form::Json => {
                let kubeconfig = self.optional_kubeconfig(rendering)?;
                let certificate = ("certificate", Some(self.certificate.as_str()));
                let texts = [certificate, ("kubeconfig", kubeconfig.as_deref())];
                self.attached(WithLongTexts { object: self.certificate_body(warnings), texts }, "json")
            }
            Form::Kubeconfig | Form::Pem => self.file(rendering, offer),
        }
    }

    /// The answer of `GET /v1/certificates/{serial}`.
    ///
    /// # Errors
    /// 404 for a kubeconfig of a cluster that is gone.
    pub fn detailed(&self, rendering: &Rendering, offer: Offer) -> Result<Response, Problem> {
        match offer.form {
            Form::Json => Ok(JsonLine(self.detail_body(rendering)?).into_response()),
            Form::Kubeconfig | Form::Pem => self.file(rendering, offer),
        }
    }

    fn file(&self, rendering: &Rendering, offer: Offer) -> Result<Response, Problem> {
        let (text, extension) = match (offer.form, self.cluster.as_deref()) {
            (Form::Kubeconfig, None) => return Err(gone(&self.recorded.cluster)),
            (Form::Kubeconfig, Some(cluster)) => (self.kubeconfig(cluster, rendering)?, "kubeconfig"),
            (Form::Json | Form::Pem, _) => (self.bundle(), "pem"),
        };
        let mut response = self.attached(text, extension)?;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(offer.media_type));
        Ok(response)
    }

    fn attached(&self, body: impl IntoResponse, extension: &str) -> Result<Response, Problem> {
        let name = file_name(&self.user()?, &short_name(&self.recorded.cluster)?, extension);
        let mut response = body.into_response();
        if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
            response.headers_mut().insert(CONTENT_DISPOSITION, value);
        }
        Ok(response)
    }

    fn certificate_body<'b>(&'b self, warnings: &'b [String]) -> CertificateBody<'b> {
        let recorded = self.recorded;
        CertificateBody {
            serial: recorded.serial.to_string(),
            status: status(recorded, self.now),
            cluster: &recorded.cluster,
            user: &recorded.user,
            groups: &recorded.groups,
            not_before: recorded.not_before,
            not_after: recorded.not_after,
            renew_after: renew_after(recorded),
            credential_id: credential_id(recorded),
            fingerprint_sha256: fingerprint::written(&recorded.sha256),
            chain: self.chain(),
            policies: &recorded.policies,
            policy_revision: recorded.policy_revision,
            requested_by: &recorded.origin.caller,
            on_behalf_of: recorded.on_behalf_of.as_deref(),
            warnings,
            request_id: recorded.origin.request_id.to_string(),
        }
    }

    fn detail_body(&self, rendering: &Rendering) -> Result<DetailBody<'_>, Problem> {
        Ok(DetailBody {
            record: CertificateRow::of(self.recorded, self.now),
            renew_after: renew_after(self.recorded),
            certificate: &self.certificate,
            chain: self.chain(),
            kubeconfig: self.optional_kubeconfig(rendering)?,
        })
    }

    fn optional_kubeconfig(&self, rendering: &Rendering) -> Result<Option<String>, Problem> {
        self.cluster.as_deref().map(|cluster| self.kubeconfig(cluster, rendering)).transpose()
    }

    fn kubeconfig(&self, cluster: &Cluster, rendering: &Rendering) -> Result<String, Problem> {
        let user = self.user()?;
        let groups = self.recorded.groups.iter().map(|group| name(group)).collect::<Result<Vec<_>, _>>()?;
        let key_path = rendering.key_path.clone().unwrap_or_else(|| KeyPath::for_user(&user));
        let kubeconfig = Kubeconfig {
            cluster: &cluster.name,
            cluster_entry: &cluster.kubeconfig_entry,
            namespace: cluster.namespace.as_deref(),
            user: &user,
            groups: &groups,
            certificate_pem: &self.bundle(),
            serial: self.recorded.serial,
            not_after: self.recorded.not_after,
            key_path: &key_path,
            shape: rendering.shape,
        };
        Ok(kubeconfig.render())
    }

    /// Leaf first, then intermediates.
    fn bundle(&self) -> String {
        format!("{}{}", self.certificate, self.intermediates())
    }

    fn chain(&self) -> Vec<&str> {
        blocks(self.intermediates())
    }

    /// Known only while the cluster still signs with the CA that signed this certificate.
    fn intermediates(&self) -> &str {
        let signer = self.cluster.as_deref().map(|cluster| &cluster.authority);
        signer
            .filter(|authority| authority.spki_sha256() == self.recorded.authority)
            .map_or("", |authority| authority.intermediates_pem())
    }

    fn user(&self) -> Result<Name, Problem> {
        name(&self.recorded.user)
    }
}

/// What `POST /v1/sign` answers, with the certificate and the kubeconfig after it.
#[derive(Serialize)]
struct CertificateBody<'a> {
    serial: String,
    status: &'static str,
    cluster: &'a str,
    user: &'a str,
    groups: &'a [String],
    not_before: Time,
    not_after: Time,
    renew_after: Time,
    credential_id: String,
    fingerprint_sha256: String,
    chain: Vec<&'a str>,
    policies: &'a [String],
    policy_revision: i64,
    requested_by: &'a str,
    on_behalf_of: Option<&'a str>,
    warnings: &'a [String],
    request_id: String,
}

/// What `GET /v1/certificates/{serial}` answers.
#[derive(Serialize)]
struct DetailBody<'a> {
    #[serde(flatten)]
    record: CertificateRow<'a>,
    renew_after: Time,
    certificate: &'a str,
    chain: Vec<&'a str>,
    kubeconfig: Option<String>,
}

fn renew_after(recorded: &Recorded) -> Time {
    two_thirds(recorded.issued_at, recorded.not_after)
}

/// Two thirds of the way from `issued` to `ends`.
fn two_thirds(issued: Time, ends: Time) -> Time {
    let lifetime = ends.seconds_since(issued);
    Time::from_unix(ends.unix().saturating_sub(lifetime / 3))
}

/// The PEM blocks of `text`, one by one.
fn blocks(text: &str) -> Vec<&str> {
    text.split_inclusive("-----END CERTIFICATE-----\n").filter(|block| !block.trim().is_empty()).collect()
}

fn name(text: &str) -> Result<Name, Problem> {
    Name::parse(text).map_err(|error| Problem::internal(format!("the ledger holds a bad name: {error}")))
}

fn short_name(text: &str) -> Result<ShortName, Problem> {
    ShortName::parse(text).map_err(|error| Problem::internal(format!("the ledger holds a bad name: {error}")))
}

fn gone(cluster: &str) -> Problem {
    let detail =
        format!("cluster {cluster} is no longer configured, so there is no kubeconfig: ask for JSON or PEM");
    Problem::new("not_found", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_due_after_two_thirds_of_the_lifetime() {
        let issued = Time::from_unix(1_000);
        assert_eq!(two_thirds(issued, Time::from_unix(1_000 + 28_800)).unix(), 1_000 + 19_200);
        assert_eq!(two_thirds(issued, Time::from_unix(1_000 + 600)).unix(), 1_000 + 400);
    }

    #[test]
    fn a_chain_is_cut_into_its_certificates() {
        let one = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        assert_eq!(blocks(""), Vec::<&str>::new());
        assert_eq!(blocks(&format!("{one}{one}")), [one, one]);
    }
}

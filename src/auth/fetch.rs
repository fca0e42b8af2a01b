//! One small JSON document over https: nothing is followed, and there is an end to its size and its time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::url::HttpsUrl;

/// For all of it: the address, the handshake, the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest document, in bytes.
const LARGEST: usize = 256 * 1_024;

/// Fetches from servers that one set of CAs vouches for.
#[derive(Clone)]
pub struct Fetcher(Arc<ClientConfig>);

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fetcher")
    }
}

impl Fetcher {
    /// Trusts the CAs in `ca_file`, or the public ones.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match ca_file {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(file) => {
                let wrong = |reason: String| format!("{}: {reason}", file.display());
                let certificates =
                    CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
                for certificate in certificates {
                    let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                    roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
                }
                if roots.is_empty() {
                    return Err(wrong("it holds no certificate".to_owned()));
                }
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        Ok(Self(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())))
    }

    /// The body of a 200; `token` goes with the request as its bearer.
    ///
    /// # Errors
    /// A sentence for the log; it says nothing of the token.
    pub async fn get(&self, url: &HttpsUrl, token: Option<&str>) -> Result<Bytes, String> {
        match tokio::time::timeout(PATIENCE, self.ask(url, token)).await {
            Ok(answer) => answer.map_err(|reason| format!("{url}: {reason}")),
            Err(_) => Err(format!("{url}: it took over {} seconds", PATIENCE.as_secs())),
        }
    }

    async fn ask(&self, url: &HttpsUrl, token: Option<&str>) -> Result<Bytes, String> {
        let name =
            ServerName::try_from(url.host.clone()).map_err(|_| "its host cannot stand in a certificate")?;
        let stream =
            TcpStream::connect((url.host.as_str(), url.port)).await.map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::clone(&self.0))
            .connect(name, stream)
            .await
            .map_err(|error| error.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let talking = tokio::spawn(connection);
        let answer = async {
            let response =
                sender.send_request(request(url, token)?).await.map_err(|error| error.to_string())?;
            if response.status() != hyper::StatusCode::OK {
                return Err(format!("it answered {}, and nothing but 200 is taken", response.status()));
            }
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            Ok(body.map_err(|error| format!("its answer broke off or is over 256 KiB: {error}"))?.to_bytes())
        };
        let answer = answer.await;
        talking.abort();
        answer
    }
}

fn request(url: &HttpsUrl, token: Option<&str>) -> Result<Request<Empty<Bytes>>, String> {
    let path = if url.path.is_empty() { "/" } else { &url.path };
    let mut request = Request::get(path)
        .header(HOST, url.authority())
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("countersign/", env!("CARGO_PKG_VERSION")));
    if let Some(token) = token {
        let mut value = hyper::header::HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| "the token for it has a character that no header has")?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    request.body(Empty::new()).map_err(|error| error.to_string())
}

//! Who is asking: before anything of the request but its headers is read.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::Response;

use super::access::Access;
use super::cross_site;
use super::error::Problem;
use super::exchange::Exchange;
use super::server::{Door, Peer};
use crate::app::{App, Rate};
use crate::audit::{Origin, RequestId};
use crate::auth::{AuthError, Network, Presented, Principal, client_behind};
use crate::tls::{ClientCertificate, Unverified};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Lets a request through to its handler if its credential is what the route asks for.
pub async fn guard(
    State((app, access, rate)): State<(Arc<App>, Access, Rate)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    Exchange::note_route(&request);
    if access != Access::Open {
        let from = from(&request, app.trusted_proxies());
        let headers = if app.reads_proxy_headers() { lines(request.headers()) } else { Vec::new() };
        let shown = presented(&request, &headers);
        let shown = shown.and_then(|shown| at_the_door(shown, &request, access, &app));
        let found = match shown {
            Ok(presented) => app.authenticate(presented, &from).await,
            Err(error) => Err(error.into()),
        };
        let principal = match found {
            Ok(principal) => principal,
            Err(error) => {
                let Some(failed) = error.authentication() else { return Err(error.into()) };
                let method = method(&app, &request, &headers, failed);
                return Err(app.fail_authentication(from, method, failed).await.into());
            }
        };
        if let Some(exchange) = request.extensions().get::<Arc<Exchange>>() {
            let _ = exchange.caller.set(principal.caller.to_string());
        }
        let origin = Origin {
            caller: principal.caller.to_string(),
            caller_groups: principal.caller.groups.iter().map(ToString::to_string).collect(),
            ..from
        };
        let asker = Asker { principal, origin };
        app.count_request(&asker.origin, rate)?;
        let admitted = cross_site::refuse(&request, &asker.principal.credential)
            .and_then(|()| access.takes(&asker.principal.credential))
            .and_then(|()| access.admit(asker.principal.roles));
        if let Err(error) = admitted {
            return Err(app.refuse_early(&asker.origin, error).await.into());
        }
        request.extensions_mut().insert(asker);
    }
    Ok(next.run(request).await)
}

/// The authenticated caller of this request, in its extensions behind every route that is not open. A handler
/// that asks for it takes it out of there.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Who, with what roles.
    pub principal: Principal,
    /// Who and from where, for the record.
    pub origin: Origin,
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.remove().ok_or_else(|| Problem::internal("nobody was asked who is calling"))
    }
}

/// Everything of a request that could say who sends it.
fn presented<'r>(
    request: &'r Request,
    headers: &'r [(&'r str, &'r [u8])],
) -> Result<Presented<'r>, AuthError> {
    Ok(Presented {
        authorization: authorization(request.headers())?,
        certificate: request.extensions().get::<ClientCertificate>(),
        peer: request.extensions().get::<Peer>().map(|peer| peer.0),
        headers,
    })
}

/// What a request shows, if its connection shows the certificate that the listener wants, if it wants one.
/// A certificate of ours opens its renewal in its place; not beside `Authorization`, which renews nothing:
/// else whoever has such a certificate would learn here which tokens hold.
///
/// # Errors
/// `CertificateWanted`, or `CertificateExpired` where it is only the time that is wrong.
fn at_the_door<'r>(
    presented: Presented<'r>,
    request: &Request,
    access: Access,
    app: &App,
) -> Result<Presented<'r>, AuthError> {
    let Some(Door(authorities)) = request.extensions().get::<Door>() else { return Ok(presented) };
    let shown = presented.certificate.ok_or(AuthError::CertificateWanted)?;
    let renews = access == Access::Renewal && presented.authorization.is_none();
    let mut vouched = authorities.verify(shown, app.clock.now());
    if vouched.is_err() && renews {
        vouched = app.vouches(shown);
    }
    vouched.map(|()| presented).map_err(|why| match why {
        Unverified::Expired => AuthError::CertificateExpired,
        Unverified::Foreign => AuthError::CertificateWanted,
    })
}

fn lines(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

/// What a request that has no caller tried, in a word.
fn method(app: &App, request: &Request, headers: &[(&str, &[u8])], error: AuthError) -> &'static str {
    match presented(request, headers) {
        Ok(presented) => app.method_of(presented, error),
        Err(AuthError::Several) => "several",
        Err(_) => "other",
    }
}

/// The one `Authorization` header. Two could be read differently by a proxy in front.
fn authorization(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(AuthError::Several);
    }
    first.map(|value| value.to_str().map_err(|_| AuthError::NotBearer)).transpose()
}

/// Which request it is and from where; of whom is not known yet.
fn from(request: &Request, trusted: &[Network]) -> Origin {
    let exchange = request.extensions().get::<Arc<Exchange>>();
    Origin {
        caller: String::new(),
        caller_groups: Vec::new(),
        request_id: exchange.map_or(RequestId([0; 16]), |exchange| exchange.id),
        client_request_id: exchange.and_then(|exchange| exchange.client_id.clone()),
        address: client_address(request, trusted),
    }
}

/// The client's, behind the proxies that are trusted to say so.
fn client_address(request: &Request, trusted: &[Network]) -> Option<IpAddr> {
    let Peer(peer) = *request.extensions().get::<Peer>()?;
    let lines: Vec<_> = request.headers().get_all(X_FORWARDED_FOR).iter().collect();
    // What is no text tells nothing of what stands before it.
    Some(client_behind(peer, lines.iter().map(|line| line.to_str().unwrap_or("?")), trusted))
}

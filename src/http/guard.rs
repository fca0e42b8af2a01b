//! Who is asking: before anything of the request but its headers is read.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;

use super::access::Access;
use super::error::Problem;
use super::exchange::Exchange;
use super::server::Peer;
use crate::app::{App, AppError, Rate};
use crate::audit::{Origin, RequestId};
use crate::auth::{AuthError, Presented, Principal};

/// Lets a request through to its handler if its credential is what the route asks for.
pub async fn guard(
    State((app, access, rate)): State<(Arc<App>, Access, Rate)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if access != Access::Open {
        let from = from(&request);
        let found = match presented(&request) {
            Ok(presented) => app.authenticate(presented, &from).await,
            Err(error) => Err(error.into()),
        };
        let principal = match found {
            Ok(principal) => principal,
            Err(AppError::Unauthenticated(error)) => {
                let method = method(&request);
                return Err(app.fail_authentication(from, method, error).await.into());
            }
            Err(error) => return Err(error.into()),
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
        if let Err(error) = access.admit(asker.principal.roles) {
            return Err(app.refuse_early(&asker.origin, error).await.into());
        }
        request.extensions_mut().insert(asker);
    }
    Ok(next.run(request).await)
}

/// The authenticated caller of this request, in its extensions behind every route that is not open.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Who, with what roles.
    pub principal: Principal,
    /// Who and from where, for the record.
    pub origin: Origin,
}

/// Everything of a request that could say who sends it.
fn presented(request: &Request) -> Result<Presented<'_>, AuthError> {
    Ok(Presented { authorization: authorization(request.headers())? })
}

/// What a request that has no caller tried, in a word.
fn method(request: &Request) -> &'static str {
    match presented(request) {
        Ok(presented) => presented.method(),
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
fn from(request: &Request) -> Origin {
    let exchange = request.extensions().get::<Arc<Exchange>>();
    Origin {
        caller: String::new(),
        caller_groups: Vec::new(),
        request_id: exchange.map_or(RequestId([0; 16]), |exchange| exchange.id),
        client_request_id: exchange.and_then(|exchange| exchange.client_id.clone()),
        address: request.extensions().get::<Peer>().map(|peer| peer.0),
    }
}

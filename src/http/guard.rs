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
use crate::app::{App, AppError};
use crate::audit::{Origin, RequestId};
use crate::auth::{AuthError, Presented, Principal};

/// Lets a request through to its handler if its credential is what the route asks for.
pub async fn guard(
    State((app, access)): State<(Arc<App>, Access)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if access != Access::Open {
        let from = from(&request);
        let principal = app.authenticate(presented(&request)?, &from).await?;
        if let Some(exchange) = request.extensions().get::<Arc<Exchange>>() {
            let _ = exchange.caller.set(principal.caller.to_string());
        }
        let origin = Origin {
            caller: principal.caller.to_string(),
            caller_groups: principal.caller.groups.iter().map(ToString::to_string).collect(),
            ..from
        };
        let asker = Asker { principal, origin };
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
fn presented(request: &Request) -> Result<Presented<'_>, Problem> {
    Ok(Presented { authorization: authorization(request.headers())? })
}

/// The one `Authorization` header. Two could be read differently by a proxy in front.
fn authorization(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(AppError::Unauthenticated(AuthError::Several).into());
    }
    let unreadable = || AppError::Unauthenticated(AuthError::NotBearer);
    first.map(|value| value.to_str().map_err(|_| unreadable().into())).transpose()
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

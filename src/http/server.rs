//! The accept loop: HTTP/1.1 with limits on everything that a client could hold open, and a drain.

mod bodies;
mod connections;
mod handshake;
mod head;
mod stream;

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::bodies::{Arriving, Leaving};
use self::connections::{Connections, Full, Place};
use self::stream::Watched;
use super::error::Problem;
use super::exchange::new_request_id;
use crate::tls::{ClientAuthorities, ClientCertificate, Tls};

/// What one client, and all of them together, may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time. One more takes the place of the one that has waited longest for
    /// its client; where none waits it is answered with 503 and closed.
    pub connections: usize,
    /// The same for the connections of one address; none where addresses are not counted. Of IPv6, the
    /// upper 64 bits are one address.
    pub connections_per_address: Option<usize>,
    /// Whether connections from this machine count by address. Behind a proxy on it, all come from there.
    pub loopback_counts: bool,
    /// The most that a request line with its headers may take, in bytes; more is 431.
    pub header_bytes: usize,
    /// Header lines in one request; more is 431.
    pub headers: usize,
    /// From the connection's start to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the end of one request, or the connection's start, to the end of the next one's headers. So
    /// this is also how long a connection may idle.
    pub header_read: Duration,
    /// From the first byte of a body that is waited for to the last one.
    pub body_read: Duration,
    /// How long a client may take nothing of an answer that waits for it.
    pub write_stall: Duration,
    /// How long requests in flight may go on after the shutdown began.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            connections_per_address: Some(256),
            loopback_counts: false,
            header_bytes: 32 * 1_024,
            headers: 100,
            handshake: Duration::from_secs(10),
            header_read: Duration::from_secs(10),
            body_read: Duration::from_secs(30),
            write_stall: Duration::from_secs(30),
            drain: Duration::from_secs(20),
        }
    }
}

/// The other end of the connection, in every request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Whose certificate the connection must have shown, where the listener wants one: as of now, and not as
/// of the handshake, after which a connection may live for days. In the extensions of its requests.
#[derive(Clone, Debug)]
pub struct Door(pub Arc<ClientAuthorities>);

/// How long the body may take, in every request's extensions; see [`Limits::body_read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyTime(pub Duration);

/// Closing a socket with unread bytes resets it, and a reset can overtake the answer. What a client still
/// sends is therefore read for this long, and up to [`LINGER_BYTES`], before the socket is closed.
const LINGER: Duration = Duration::from_secs(2);
/// See [`LINGER`].
const LINGER_BYTES: u64 = 16 * 1_024 * 1_024;
/// How many connections above the limit are told so politely; the rest are closed without waiting.
const REFUSALS_AT_ONCE: usize = 64;
/// The pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The least time between two lines in the log about too many connections.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(1);

/// What answers requests.
pub trait Answering: Clone + Send + Sync + 'static {
    /// The answer, whatever went wrong.
    fn answer(self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send;
}

/// Serves `api` on `listener`, over TLS where there is one, until `shutdown`, then drains: requests
/// in flight are answered, idle connections are closed, and what is left at the deadline is cut.
pub async fn serve<A: Answering>(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    api: A,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let mut connections = JoinSet::new();
    let server = Server::new(tls, api, limits, shutdown.clone());
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => server.admit(&mut connections, stream, peer),
            Err(error) => server.pause(&error).await,
        }
    }
    drop(listener);
    drain(connections, server.limits.drain).await;
}

struct Server<A> {
    tls: Option<Arc<Tls>>,
    api: A,
    limits: Arc<Limits>,
    shutdown: CancellationToken,
    places: Arc<Connections>,
    refusals: Arc<Semaphore>,
    last_warning: Mutex<Option<Instant>>,
}

impl<A: Answering> Server<A> {
    fn new(tls: Option<Arc<Tls>>, api: A, limits: Limits, shutdown: CancellationToken) -> Self {
        Self {
            tls,
            api,
            shutdown,
            places: Connections::new(
                limits.connections,
                limits.connections_per_address,
                limits.loopback_counts,
            ),
            refusals: Arc::new(Semaphore::new(REFUSALS_AT_ONCE)),
            last_warning: Mutex::new(None),
            limits: Arc::new(limits),
        }
    }

    fn admit(&self, connections: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr) {
        let peer = Peer(peer.ip().to_canonical());
        match self.places.admit(peer.0) {
            Ok(place) => {
                // Answers are small and written whole: waiting for more to send only delays them.
                let _ = stream.set_nodelay(true);
                let served = Served {
                    place: Arc::new(place),
                    api: self.api.clone(),
                    limits: Arc::clone(&self.limits),
                    shutdown: self.shutdown.clone(),
                };
                connections.spawn(served.until_cut(stream, peer, self.tls.clone()));
            }
            Err(full) => self.turn_away(connections, stream, full),
        }
    }

    fn turn_away(&self, connections: &mut JoinSet<()>, stream: TcpStream, full: Full) {
        self.warn(full);
        if self.tls.is_some() {
            // An answer would take a handshake first, for which there is no room.
            return;
        }
        if let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() {
            connections.spawn(async move {
                refuse(stream).await;
                drop(place);
            });
        }
    }

    /// Seldom: a flood of connections must not become one of lines.
    fn warn(&self, full: Full) {
        let mut last = self.last_warning.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= BETWEEN_WARNINGS) {
            *last = Some(Instant::now());
            let of_one_address = full == Full::OfOneAddress;
            tracing::warn!(of_one_address, "too many connections, all of them being answered");
        }
    }

    /// A client that went away before it was accepted is nobody's fault. Everything else (no file
    /// descriptors left) would fail again at once, so one that waits makes room and the loop pauses.
    async fn pause(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
            return;
        }
        tracing::error!(%error, "cannot accept a connection");
        self.places.make_room();
        tokio::select! {
            () = sleep(ACCEPT_PAUSE) => {}
            () = self.shutdown.cancelled() => {}
        }
    }
}

/// The other end of a connection.
struct Remote {
    peer: Peer,
    certificate: Option<ClientCertificate>,
    /// What it is served over.
    tls: Option<Arc<Tls>>,
}

/// One connection that has a place.
struct Served<A> {
    place: Arc<Place>,
    api: A,
    limits: Arc<Limits>,
    shutdown: CancellationToken,
}

impl<A: Answering> Served<A> {
    /// Serves it to its end, or until its place is given to another.
    async fn until_cut(self, stream: TcpStream, peer: Peer, tls: Option<Arc<Tls>>) {
        let place = Arc::clone(&self.place);
        tokio::select! {
            () = self.begin(stream, peer, tls) => {}
            () = place.cut() => {}
        }
    }

    async fn begin(&self, stream: TcpStream, peer: Peer, tls: Option<Arc<Tls>>) {
        let Some(tls) = tls else {
            return self.to_its_end(stream, Remote { peer, certificate: None, tls: None }).await;
        };
        let handshake = handshake::perform(stream, &tls, self.limits.handshake);
        if let Some(Some((stream, certificate))) = self.shutdown.run_until_cancelled(handshake).await {
            self.to_its_end(stream, Remote { peer, certificate, tls: Some(tls) }).await;
        }
    }

    async fn to_its_end<S>(&self, stream: S, remote: Remote)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = self.exchange_all(stream, remote).await;
        self.place.wait();
        linger(stream).await;
    }

    /// Answers requests until the client or the service has no more; gives back the stream.
    async fn exchange_all<S>(&self, stream: S, remote: Remote) -> Watched<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = Watched::new(stream, self.limits.write_stall);
        let service = service_fn(|request: Request<Incoming>| Box::pin(self.answer(request, &remote)));
        let mut connection = builder(&self.limits).serve_connection(TokioIo::new(stream), service);
        let done = tokio::select! {
            _ = poll_fn(|context| connection.poll_without_shutdown(context)) => true,
            () = self.shutdown.cancelled() => false,
        };
        if !done {
            // Closes the connection now if it is idle, else after the request that is in flight.
            Pin::new(&mut connection).graceful_shutdown();
            let _ = poll_fn(|context| connection.poll_without_shutdown(context)).await;
        }
        connection.into_parts().io.into_inner()
    }

    fn answer(
        &self,
        request: Request<Incoming>,
        remote: &Remote,
    ) -> impl Future<Output = Result<Response<Leaving<Body>>, Infallible>> + use<A> {
        let place = Arc::clone(&self.place);
        let mut request = request.map(|body| Body::new(Arriving::new(body, Arc::clone(&place))));
        request.extensions_mut().insert(remote.peer);
        request.extensions_mut().insert(BodyTime(self.limits.body_read));
        if let Some(door) = remote.tls.as_ref().and_then(|tls| tls.current().door.clone()) {
            request.extensions_mut().insert(Door(door));
        }
        if let Some(certificate) = &remote.certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        let (api, most_headers) = (self.api.clone(), self.limits.headers);
        async move {
            if !place.answer() {
                // Its place was given away in this moment; whoever drives this drops it.
                return pending().await;
            }
            let response = match head::fault(&request, most_headers) {
                None => api.answer(request).await,
                Some(problem) => head::refusal(&problem),
            };
            Ok(response.map(|body| Leaving::new(body, place)))
        }
    }
}

fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // A client that has said all it has to say (`nc -N`) still gets its answer.
        .half_close(true)
        .header_read_timeout(limits.header_read)
        // A few more than are taken: those are told so in a body, the rest is refused by hyper without one.
        .max_headers(limits.headers.saturating_mul(2))
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(SMALLEST_BUFFER));
    builder
}

/// hyper takes no smaller buffer than this, in bytes.
const SMALLEST_BUFFER: usize = 32 * 1_024;

async fn refuse(mut stream: TcpStream) {
    let problem =
        Problem::new("too_many_connections", "too many connections are open: try again in a moment");
    let body = problem.body(new_request_id());
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
         Retry-After: 1\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if timeout(LINGER, stream.write_all(format!("{head}{body}").as_bytes())).await.is_ok() {
        linger(stream).await;
    }
}

async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let _ = timeout(LINGER, async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    })
    .await;
}

async fn drain(mut connections: JoinSet<()>, deadline: Duration) {
    let waited = timeout(deadline, async { while connections.join_next().await.is_some() {} }).await;
    if waited.is_err() {
        tracing::warn!(count = connections.len(), "connections were cut at the end of the drain");
        connections.shutdown().await;
    }
}

#[cfg(test)]
mod tests;

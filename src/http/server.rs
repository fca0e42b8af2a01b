//! The accept loop: HTTP/1.1 with limits on everything that a client could hold open, and a drain.

mod bodies;
mod connections;
mod head;
mod stream;

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use self::bodies::{Arriving, Leaving};
use self::connections::{Connections, Full, Place};
use self::stream::Watched;
use super::error::Problem;
use super::exchange::new_request_id;

/// What one client, and all of them together, may hold.
#[derive(Clone, Debug)]
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

/// Serves `router` on `listener` until `shutdown`, then drains: requests in flight are answered, idle
/// connections are closed, and what is left at the deadline is cut.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    let server = Server::new(router, limits, shutdown.clone());
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

struct Server {
    router: Router,
    limits: Arc<Limits>,
    shutdown: CancellationToken,
    places: Arc<Connections>,
    refusals: Arc<Semaphore>,
    last_warning: Mutex<Option<Instant>>,
}

impl Server {
    fn new(router: Router, limits: Limits, shutdown: CancellationToken) -> Self {
        Self {
            router,
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
                let (router, limits) = (self.router.clone(), Arc::clone(&self.limits));
                let shutdown = self.shutdown.clone();
                connections.spawn(serve_stream(stream, peer, place, router, limits, shutdown));
            }
            Err(full) => self.turn_away(connections, stream, full),
        }
    }

    fn turn_away(&self, connections: &mut JoinSet<()>, stream: TcpStream, full: Full) {
        self.warn(full);
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

/// Serves one connection over any stream, so that a TLS handshake can come between accept and here.
async fn serve_stream<S>(
    stream: S,
    peer: Peer,
    place: Place,
    router: Router,
    limits: Arc<Limits>,
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let place = Arc::new(place);
    let served = async {
        let stream = exchange_all(stream, peer, &place, router, &limits, shutdown).await;
        place.wait();
        linger(stream).await;
    };
    tokio::select! {
        () = served => {}
        () = place.cut() => {}
    }
}

/// Answers requests until the client or the service has no more; gives back the stream.
async fn exchange_all<S>(
    stream: S,
    peer: Peer,
    place: &Arc<Place>,
    router: Router,
    limits: &Limits,
    shutdown: CancellationToken,
) -> Watched<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = Watched::new(stream, limits.write_stall);
    let body_time = BodyTime(limits.body_read);
    let service = service_fn(|request: Request<Incoming>| {
        let place = Arc::clone(place);
        let mut request = request.map(|body| Body::new(Arriving::new(body, Arc::clone(&place))));
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(body_time);
        let router = router.clone();
        Box::pin(async move {
            if !place.answer() {
                // Its place was given away in this moment; whoever drives this drops it.
                return pending().await;
            }
            let response = match head::fault(&request) {
                None => router.oneshot(request).await?,
                Some(detail) => head::refusal(detail),
            };
            Ok::<_, Infallible>(response.map(|body| Leaving::new(body, place)))
        })
    });
    let mut connection = builder(limits).serve_connection(TokioIo::new(stream), service);
    let done = tokio::select! {
        _ = poll_fn(|context| connection.poll_without_shutdown(context)) => true,
        () = shutdown.cancelled() => false,
    };
    if !done {
        // Closes the connection now if it is idle, else after the request that is in flight.
        Pin::new(&mut connection).graceful_shutdown();
        let _ = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    }
    connection.into_parts().io.into_inner()
}

fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // A client that has said all it has to say (`nc -N`) still gets its answer.
        .half_close(true)
        .header_read_timeout(limits.header_read)
        .max_headers(limits.headers)
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
mod tests {
    use super::*;

    use std::time::Instant;

    use axum::extract::Extension;
    use axum::handler::Handler;
    use axum::routing::{get, post};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    struct Running {
        address: SocketAddr,
        shutdown: CancellationToken,
        task: JoinHandle<()>,
        /// Told when a slow handler has begun.
        begun: Arc<Notify>,
    }

    /// Short enough for a test, long enough for a slow machine.
    fn quick() -> Limits {
        Limits {
            header_read: Duration::from_millis(500),
            write_stall: Duration::from_millis(500),
            drain: Duration::from_secs(10),
            ..Limits::default()
        }
    }

    async fn start(limits: Limits) -> Running {
        let begun = Arc::new(Notify::new());
        let told = Arc::clone(&begun);
        let read = move |body: Body| {
            told.notify_one();
            async move { axum::body::to_bytes(body, 100).await.unwrap_or_default() }
        };
        let router = Router::new()
            .route("/peer", get(|Extension(peer): Extension<Peer>| async move { peer.0.to_string() }))
            .route("/slow", get(slow(&begun, Duration::from_millis(700))))
            .route("/slower", get(slow(&begun, Duration::from_mins(1))))
            .route("/big", get(|| async { vec![b'x'; 64 * 1_024 * 1_024] }))
            .route("/unread", post(|| async { "not read" }))
            .route("/read", post(read));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(listener, router, limits, shutdown.clone()));
        Running { address, shutdown, task, begun }
    }

    fn slow(begun: &Arc<Notify>, time: Duration) -> impl Handler<((),), ()> {
        let begun = Arc::clone(begun);
        move || async move {
            begun.notify_one();
            sleep(time).await;
        }
    }

    impl Running {
        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        async fn ask(&self, request: &[u8]) -> String {
            let mut stream = self.connect().await;
            stream.write_all(request).await.unwrap();
            read_all(&mut stream).await
        }
    }

    impl Running {
        /// A place is given back a moment after its connection has ended.
        async fn ask_until_served(&self) {
            let deadline = Instant::now() + Duration::from_secs(10);
            while !self.ask(PEER).await.starts_with("HTTP/1.1 200") {
                assert!(Instant::now() < deadline, "the place was never given back");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    async fn read_all(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        timeout(Duration::from_secs(10), stream.read_to_end(&mut text)).await.unwrap().unwrap();
        String::from_utf8(text).unwrap()
    }

    const PEER: &[u8] = b"GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    #[tokio::test]
    async fn a_handler_knows_the_peer_s_address() {
        let answer = start(quick()).await.ask(PEER).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_is_closed() {
        let running = start(quick()).await;
        let mut silent = running.connect().await;
        let mut half = running.connect().await;
        half.write_all(b"GET /peer HTTP/1.1\r\nHost: ").await.unwrap();
        let started = Instant::now();
        assert_eq!(read_all(&mut silent).await, "");
        assert_eq!(read_all(&mut half).await, "");
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed_after_its_answer() {
        let answer = start(quick()).await.ask(b"GET /peer HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.ends_with("127.0.0.1"), "{answer}");
    }

    #[tokio::test]
    async fn headers_are_bounded_in_number_and_size() {
        let running = start(quick()).await;
        let many = "X: y\r\n".repeat(101);
        let long = format!("X: {}\r\n", "y".repeat(33 * 1_024));
        for headers in [many, long] {
            let answer = running.ask(format!("GET /peer HTTP/1.1\r\n{headers}\r\n").as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        }
    }

    #[tokio::test]
    async fn one_connection_too_many_is_told_so_while_all_are_being_answered() {
        let running = start(Limits { connections: 1, ..quick() }).await;
        let mut busy = running.connect().await;
        busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        running.begun.notified().await;
        let answer = running.ask(PEER).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("Retry-After: 1\r\n") && answer.contains("too_many_connections"), "{answer}");
        assert!(read_all(&mut busy).await.starts_with("HTTP/1.1 200"), "the one that was first is answered");
    }

    #[tokio::test]
    async fn who_waits_makes_room_for_who_asks() {
        let running = start(Limits { connections: 1, header_read: Duration::from_mins(1), ..quick() }).await;
        let mut silent = running.connect().await;
        assert!(running.ask(PEER).await.starts_with("HTTP/1.1 200"));
        assert_eq!(read_all(&mut silent).await, "");
        let mut idle = running.connect().await;
        idle.write_all(b"GET /peer HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        idle.read_u8().await.unwrap();
        assert!(running.ask(PEER).await.starts_with("HTTP/1.1 200"));
        assert!(read_all(&mut idle).await.ends_with("127.0.0.1"), "it was answered before it was cut");
        let mut body = running.connect().await;
        body.write_all(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234").await.unwrap();
        running.begun.notified().await;
        assert!(running.ask(PEER).await.starts_with("HTTP/1.1 200"));
        assert_eq!(read_all(&mut body).await, "");
    }

    #[tokio::test]
    async fn one_address_is_told_that_it_has_too_many() {
        let limits = Limits { connections_per_address: Some(1), loopback_counts: true, ..quick() };
        let running = start(limits).await;
        let mut busy = running.connect().await;
        busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        running.begun.notified().await;
        assert!(running.ask(PEER).await.starts_with("HTTP/1.1 503"));
    }

    #[tokio::test]
    async fn a_client_that_has_said_all_still_gets_its_answer() {
        let running = start(quick()).await;
        let mut stream = running.connect().await;
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn a_place_is_free_again_after_its_connection() {
        let running = start(Limits { connections: 1, ..quick() }).await;
        for _ in 0..3 {
            running.ask_until_served().await;
        }
    }

    #[tokio::test]
    async fn an_answer_arrives_though_the_body_was_not_read() {
        let running = start(quick()).await;
        let body = vec![b'x'; 512 * 1_024];
        let head = format!("POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        let answer = running.ask(&[head.as_bytes(), &body].concat()).await;
        assert!(answer.ends_with("not read"), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_cut() {
        let running = start(Limits { connections: 1, ..quick() }).await;
        let mut stuck = running.connect().await;
        stuck.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        running.ask_until_served().await;
    }

    #[tokio::test]
    async fn a_drain_answers_what_is_in_flight_and_closes_what_is_idle() {
        let running = start(Limits { header_read: Duration::from_mins(1), ..quick() }).await;
        let mut fresh = running.connect().await;
        let mut idle = running.connect().await;
        idle.write_all(b"GET /peer HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        idle.read_u8().await.unwrap();
        let mut busy = running.connect().await;
        busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        running.begun.notified().await;
        let started = Instant::now();
        running.shutdown.cancel();
        assert_eq!(read_all(&mut fresh).await, "");
        assert!(read_all(&mut idle).await.ends_with("127.0.0.1"));
        assert!(read_all(&mut busy).await.starts_with("HTTP/1.1 200"));
        drop((fresh, idle, busy));
        running.task.await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(TcpStream::connect(running.address).await.is_err());
    }

    #[tokio::test]
    async fn a_drain_ends_at_its_deadline() {
        let running = start(Limits { drain: Duration::from_millis(100), ..quick() }).await;
        let mut busy = running.connect().await;
        busy.write_all(b"GET /slower HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        running.begun.notified().await;
        running.shutdown.cancel();
        timeout(Duration::from_secs(5), running.task).await.unwrap().unwrap();
        assert_eq!(read_all(&mut busy).await, "");
    }

    #[tokio::test]
    async fn http_2_is_not_spoken() {
        let answer = start(quick()).await.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        assert!(!answer.starts_with("HTTP/1.1 200") && !answer.starts_with('\0'), "{answer}");
    }
}

use super::*;

use std::time::Instant;

use axum::Router;
use axum::extract::Extension;
use axum::handler::Handler;
use axum::routing::{get, post};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower::ServiceExt;

impl Answering for Router {
    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let Ok(response) = self.oneshot(request).await;
        response
    }
}

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
    let task = tokio::spawn(serve(listener, None, router, limits, shutdown.clone()));
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
    let many = "X: y\r\n".repeat(100);
    let more = "X: y\r\n".repeat(500);
    let long = format!("X: {}\r\n", "y".repeat(33 * 1_024));
    for (headers, code) in [(many, "header_fields_too_large"), (more, ""), (long, "")] {
        let request = format!("GET /peer HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        let answer = running.ask(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431") && answer.contains(code), "{answer}");
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

//! The load: one thread, kept-alive connections, requests that were written ahead, and a reader that
//! looks for no more of an answer than it has to. It runs beside the service, so it must be small.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

/// How a good answer begins, and how its body does.
const CREATED: &[u8] = b"HTTP/1.1 201 ";
const BODY: &[u8] = b"{\"serial\":\"";

/// How many connections an open loop has. Enough that none of them is waited for.
const OPEN_CONNECTIONS: usize = 256;

/// What the clients do.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// So many clients, each of which asks again as soon as it is answered.
    Closed { clients: usize },
    /// So many requests a second, whether earlier ones are answered or not.
    Open { per_second: f64 },
}

/// Requests that were written ahead, taken in turn by all clients and all loads: a key comes again
/// only after all the others.
pub struct Requests {
    all: Vec<Vec<u8>>,
    next: Cell<usize>,
}

impl Requests {
    /// Begins with the first.
    pub fn new(all: Vec<Vec<u8>>) -> Rc<Self> {
        Rc::new(Self { all, next: Cell::new(0) })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    fn take(&self) -> &[u8] {
        let place = self.next.get();
        self.next.set(if place.saturating_add(1) < self.all.len() { place.saturating_add(1) } else { 0 });
        self.all.get(place).map_or(&[], Vec::as_slice)
    }
}

/// Sends the `load` for `time`; what each answer took. Of an open loop from the moment at which the
/// request was due, so that a service that stalls cannot hide it. Every answer is a certificate, or
/// this fails.
pub fn run(
    load: Load,
    address: SocketAddr,
    requests: &Rc<Requests>,
    time: Duration,
) -> Result<Vec<Duration>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let requests = Rc::clone(requests);
    LocalSet::new().block_on(&runtime, async move {
        match load {
            Load::Closed { clients } => closed(clients, address, requests, time).await,
            Load::Open { per_second } => open(per_second, address, requests, time).await,
        }
    })
}

async fn closed(
    clients: usize,
    address: SocketAddr,
    requests: Rc<Requests>,
    time: Duration,
) -> Result<Vec<Duration>> {
    let mut tasks = Vec::new();
    let connections = connect(clients, address).await?;
    let end = Instant::now() + time;
    for mut connection in connections {
        let requests = Rc::clone(&requests);
        tasks.push(tokio::task::spawn_local(async move {
            let mut taken = Vec::new();
            let mut began = Instant::now();
            while began < end {
                connection.exchange(requests.take()).await?;
                taken.push(began.elapsed());
                began = Instant::now();
            }
            anyhow::Ok(taken)
        }));
    }
    gather(tasks).await
}

async fn open(
    per_second: f64,
    address: SocketAddr,
    requests: Rc<Requests>,
    time: Duration,
) -> Result<Vec<Duration>> {
    let connections = connect(OPEN_CONNECTIONS, address).await?;
    let plan = Plan { began: Instant::now(), gap: Duration::from_secs_f64(1.0 / per_second.max(1.0)), time };
    let (due, next) = (Arc::new(Semaphore::new(0)), Rc::new(Cell::new(0_u32)));
    let pacer = std::thread::spawn({
        let due = Arc::clone(&due);
        move || plan.pace(&due)
    });
    let mut tasks = Vec::new();
    for mut connection in connections {
        let (requests, due, next) = (Rc::clone(&requests), Arc::clone(&due), Rc::clone(&next));
        tasks.push(tokio::task::spawn_local(async move {
            let mut taken = Vec::new();
            // Closed once the last one was given out.
            while let Ok(permit) = due.acquire().await {
                permit.forget();
                let place = next.replace(next.get().saturating_add(1));
                connection.exchange(requests.take()).await?;
                taken.push(plan.due(place).elapsed());
            }
            anyhow::Ok(taken)
        }));
    }
    let taken = gather(tasks).await;
    due.close();
    pacer.join().map_err(|_| anyhow::anyhow!("the pace broke off"))?;
    taken
}

/// When each request of an open loop is due.
#[derive(Clone, Copy)]
struct Plan {
    began: Instant,
    gap: Duration,
    time: Duration,
}

impl Plan {
    fn due(&self, place: u32) -> Instant {
        self.began + self.gap.saturating_mul(place)
    }

    /// Lets one request go whenever one is due. On a thread of its own: timers of the runtime are too
    /// coarse.
    fn pace(&self, due: &Semaphore) {
        let mut place = 0_u32;
        while self.gap.saturating_mul(place) < self.time {
            std::thread::sleep(self.due(place).saturating_duration_since(Instant::now()));
            due.add_permits(1);
            place = place.saturating_add(1);
        }
        // Those that wait would otherwise be told before they could take the last ones.
        while due.available_permits() > 0 && !due.is_closed() {
            std::thread::sleep(Duration::from_millis(1));
        }
        due.close();
    }
}

async fn connect(count: usize, address: SocketAddr) -> Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for _ in 0..count {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        connections.push(Connection { stream, answer: Vec::with_capacity(16 * 1_024) });
    }
    Ok(connections)
}

async fn gather(tasks: Vec<tokio::task::JoinHandle<Result<Vec<Duration>>>>) -> Result<Vec<Duration>> {
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    Ok(all)
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    /// Sends one request and reads the whole answer, which must be a certificate.
    async fn exchange(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        let mut length = None;
        while length.is_none_or(|length| self.answer.len() < length) {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                bail!("the service closed a connection");
            }
            if length.is_none() {
                length = whole_length(&self.answer)?;
            }
        }
        self.check()
    }

    fn check(&self) -> Result<()> {
        let body = self.answer.windows(4).position(|four| four == b"\r\n\r\n");
        let body = body.and_then(|end| self.answer.get(end.saturating_add(4)..)).unwrap_or_default();
        if self.answer.starts_with(CREATED) && body.starts_with(BODY) && body.ends_with(b"}\n") {
            return Ok(());
        }
        let shown: String = String::from_utf8_lossy(&self.answer).chars().take(800).collect();
        bail!("an answer is no certificate: {shown}");
    }
}

/// How long the answer is with its head, once all of the head is there.
fn whole_length(answer: &[u8]) -> Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = answer.get(..end).and_then(|head| str::from_utf8(head).ok()).context("a head is not UTF-8")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.context("an answer has no content-length")?.parse()?;
    Ok(Some(end.saturating_add(4).saturating_add(length)))
}

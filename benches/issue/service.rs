//! The service under test: the release binary with a configuration, a ledger and a port of its own.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::client::Requests;
use crate::database::{self, Database, Postgres};
use crate::machine::{self, Memory};
use crate::material::{self, CaFiles};

/// How long it may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// What everybody is allowed here.
pub const POLICIES: &str = "policies:\n  - { name: people, effect: allow, clusters: [bench], callers: \
     [\"token:load\", \"token:other\"], users: [\"u*\"], groups: [dev, viewers], max_ttl: 8h }\n";

/// A folder with everything that the service needs, and the process while it runs.
pub struct Service {
    folder: PathBuf,
    binary: PathBuf,
    address: SocketAddr,
    token: String,
    pub database: Database,
    process: Option<Child>,
}

impl Service {
    /// Prepares a service as an operator would, with the command line. `folder` is made.
    pub fn prepare(folder: &Path, binary: &Path, ca: &CaFiles, postgres: Option<&Postgres>) -> Result<Self> {
        fs::create_dir(folder).with_context(|| folder.display().to_string())?;
        let database = Database::make(postgres, folder)?;
        let address = free_address()?;
        fs::write(folder.join("countersign.toml"), configuration(address, &database, ca))?;
        let policies = folder.join("policies.yaml");
        fs::write(&policies, POLICIES)?;
        let (folder, binary) = (folder.to_owned(), binary.to_owned());
        let mut service = Self { folder, binary, address, token: String::new(), database, process: None };
        service.token =
            database::run(service.command().args(["token", "create", "load", "--role", "requester"]))?;
        database::run(service.command().args(["policy", "apply", "-f"]).arg(policies))?;
        Ok(service)
    }

    /// Starts it and waits until it is ready.
    pub fn start(&mut self) -> Result<()> {
        let command = self.command();
        self.launch(command)
    }

    /// The same under strace, which writes a line into `trace` whenever a file is synced.
    pub fn start_traced(&mut self, trace: &Path) -> Result<()> {
        let mut command = Command::new("strace");
        // With the tracer as the grandchild, so that the child is the service itself.
        command.args(["-D", "-f", "--seccomp-bpf", "-e", "trace=fsync,fdatasync,sync_file_range", "-o"]);
        let service = self.command();
        command.arg(trace).arg(service.get_program()).args(service.get_args()).current_dir(&self.folder);
        self.launch(command)
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) -> Result<()> {
        let pid = self.pid()?;
        let Some(mut process) = self.process.take() else { bail!("it does not run") };
        kill_process(pid, Signal::TERM)?;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if process.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        process.kill()?;
        process.wait()?;
        bail!("it did not stop within {PATIENCE:?}");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU time of the process so far.
    pub fn cpu(&self) -> Result<Duration> {
        machine::cpu(self.pid()?)
    }

    /// Its resident memory.
    pub fn memory(&self) -> Result<Memory> {
        Memory::of(self.pid()?)
    }

    /// The token of another caller, who may have the same.
    pub fn other_token(&self) -> Result<String> {
        database::run(self.command().args(["token", "create", "other", "--role", "requester"]))
    }

    /// What a client sends for each of these CSRs: as `curl --data-binary` does.
    pub fn requests(&self, csrs: &[Vec<u8>]) -> Rc<Requests> {
        Requests::new(self.written(&self.token, csrs))
    }

    /// The same, as the caller of this token writes it.
    pub fn written(&self, token: &str, csrs: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let request = |csr: &Vec<u8>| {
            let body = material::pem(csr);
            format!(
                "POST /v1/sign?cluster=bench HTTP/1.1\r\nHost: {}\r\nUser-Agent: bench\r\nAccept: */*\r\n\
                 Authorization: Bearer {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                self.address,
                token,
                body.len(),
            )
            .into_bytes()
        };
        csrs.iter().map(request).collect()
    }

    /// The caller of the load.
    pub fn token(&self) -> &str {
        &self.token
    }

    fn pid(&self) -> Result<Pid> {
        let process = self.process.as_ref().context("it does not run")?;
        i32::try_from(process.id()).ok().and_then(Pid::from_raw).context("it has no process id")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(self.folder.join("countersign.toml")).current_dir(&self.folder);
        command.stdin(Stdio::null());
        command
    }

    fn launch(&mut self, mut command: Command) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        command.arg("serve").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.process = Some(command.spawn().with_context(|| format!("{command:?}"))?);
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.process.as_mut().is_some_and(|process| !matches!(process.try_wait(), Ok(None))) {
                break;
            }
            if ready(self.address) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("it did not become ready: {}", fs::read_to_string(self.log())?);
    }

    fn log(&self) -> PathBuf {
        self.folder.join("serve.log")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The smallest configuration that serves one cluster.
pub fn configuration(address: SocketAddr, database: &Database, ca: &CaFiles) -> String {
    let (certificate, key) = (ca.certificate.display(), ca.key.display());
    format!(
        "listen = \"{address}\"\ndatabase = \"{}\"\n\n[[clusters]]\nname = \"bench\"\n\
         server = \"https://bench.example:6443\"\nserver_ca = \"{certificate}\"\n\
         client_ca = \"{certificate}\"\nclient_ca_key = \"{key}\"\n",
        database.setting()
    )
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn ready(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.1 200 "))
    };
    ask().unwrap_or(false)
}

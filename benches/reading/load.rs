//! Fills a ledger in bulk: indexes and triggers away, rows in the order of their tables, indexes and
//! triggers back, as they stood. Not a way that the service has.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use aws_lc_rs::digest::{SHA256, digest};

use crate::database::{Database, Engine};
use crate::prompt::Prompt;
use crate::shape::{self, CALLERS, CLUSTERS, GROUP_LISTS, GROUPS, Kind, POLICIES, POLICY_LISTS, Record};

/// The octets of a certificate's end that differ: most of its signature.
const VARIED: usize = 60;

/// How many rows a statement for SQLite holds.
const ROWS: usize = 64;

/// One cell.
enum Cell<'c> {
    Number(u64),
    Signed(i64),
    Text(&'c str),
    Octets(&'c [u8]),
    Nothing,
}

/// What is put where.
pub struct Load<'l> {
    pub engine: Engine,
    /// How many there are of everything together.
    records: u64,
    /// Seconds since 1970.
    pub now: u64,
    prompt: &'l mut Prompt,
    /// Numbers and names' numbers begin behind these.
    first: u64,
    names: u64,
    lists: u64,
    /// A certificate that the service signed.
    der: Vec<u8>,
    authority: u64,
}

/// Fills the ledger behind `prompt` with so many certificates and what goes with them. Returns the certificate that
/// the others are like.
pub fn fill(database: &Database, prompt: &mut Prompt, certificates: u64, now: u64) -> Result<Vec<u8>> {
    let engine = match database {
        Database::Sqlite(_) => Engine::Sqlite,
        Database::Postgres { .. } => Engine::Postgres,
    };
    let hex = match engine {
        Engine::Sqlite => "SELECT hex(der) FROM certificates LIMIT 1",
        Engine::Postgres => "SELECT encode(der, 'hex') FROM certificates LIMIT 1",
    };
    let mut load = Load {
        engine,
        records: shape::records(certificates),
        now,
        first: prompt.number("SELECT number FROM state")?,
        names: prompt.number("SELECT max(id) FROM names")?,
        lists: prompt.number("SELECT max(id) FROM name_lists")?,
        der: hex::decode(prompt.cell(hex)?)?,
        authority: prompt.number("SELECT max(id) FROM authorities")?,
        prompt,
    };
    load.begin()?;
    let back = load.without_indexes()?;
    load.forget()?;
    load.names()?;
    load.events()?;
    load.certificates()?;
    load.refusals()?;
    load.members()?;
    load.finish(&back)?;
    Ok(load.der)
}

impl Load<'_> {
    fn begin(&mut self) -> Result<()> {
        match self.engine {
            // The service sets and reads back what it needs when it opens the file.
            Engine::Sqlite => {
                for pragma in ["journal_mode = OFF", "synchronous = OFF", "cache_size = -400000"] {
                    self.prompt.run(&format!("PRAGMA {pragma}"))?;
                }
                self.prompt.run("BEGIN")
            }
            Engine::Postgres => self.prompt.run("SET session_replication_role = replica"),
        }
    }

    /// Drops what can be made again, and returns how.
    fn without_indexes(&mut self) -> Result<Vec<String>> {
        let (made, drops) = match self.engine {
            Engine::Sqlite => (
                "SELECT replace(replace(sql, char(10), ' '), '  ', ' ') FROM sqlite_master WHERE sql IS NOT NULL \
                 AND type IN ('index', 'trigger') ORDER BY type, name",
                "SELECT 'DROP ' || type || ' ' || name FROM sqlite_master WHERE sql IS NOT NULL AND type IN \
                 ('index', 'trigger') ORDER BY type, name",
            ),
            Engine::Postgres => (
                "SELECT replace(indexdef, chr(10), ' ') FROM pg_indexes WHERE schemaname = current_schema() AND indexname NOT IN \
                 (SELECT conname FROM pg_constraint) ORDER BY indexname",
                "SELECT 'DROP INDEX ' || indexname FROM pg_indexes WHERE schemaname = current_schema() AND \
                 indexname NOT IN (SELECT conname FROM pg_constraint) ORDER BY indexname",
            ),
        };
        let (made, drops) = (self.prompt.ask(made)?.0, self.prompt.ask(drops)?.0);
        drops.iter().try_for_each(|drop| self.prompt.run(drop))?;
        Ok(made)
    }

    /// The one real certificate is newer than all that follow: no clock of the service goes back so far.
    fn forget(&mut self) -> Result<()> {
        for what in ["key_owners", "certificates", "events WHERE kind = 1"] {
            self.prompt.run(&format!("DELETE FROM {what}"))?;
        }
        Ok(())
    }

    fn finish(&mut self, back: &[String]) -> Result<()> {
        back.iter().try_for_each(|made| self.prompt.run(made))?;
        let last = self.first + self.records;
        self.prompt.run(&format!("UPDATE state SET number = {last}, newest_at = {}", self.now))?;
        match self.engine {
            Engine::Sqlite => self.prompt.run("COMMIT"),
            Engine::Postgres => {
                for table in ["names", "name_lists"] {
                    let next = format!("pg_get_serial_sequence('{table}', 'id')");
                    self.prompt.run(&format!("SELECT setval({next}, (SELECT max(id) FROM {table}))"))?;
                }
                self.prompt.run("VACUUM (ANALYZE)")?;
                self.prompt.run("CHECKPOINT")
            }
        }
    }

    fn names(&mut self) -> Result<()> {
        let mut rows = Rows::begin(self, "names", "id, name")?;
        let all = (0..CALLERS)
            .map(caller)
            .chain((0..GROUPS).map(group))
            .chain((0..POLICIES).map(policy))
            .chain((1..CLUSTERS).map(cluster));
        for (id, name) in (self.names + 1..).zip(all) {
            rows.row(self, &[Cell::Number(id), Cell::Text(&name)])?;
        }
        rows.end(self)?;
        let mut rows = Rows::begin(self, "name_lists", "id, sha256, names")?;
        let groups = (0..GROUP_LISTS).map(|list| json(&shape::members(list, GROUPS), group));
        let policies = (0..POLICY_LISTS).map(|list| json(&shape::members(list + 1_000, POLICIES), policy));
        let mut seen = BTreeSet::new();
        for (id, mut list) in (self.lists + 1..).zip(groups.chain(policies)) {
            // A second list of the same names: hardly what the service does, and no matter here.
            while !seen.insert(list.clone()) {
                list.insert(1, ' ');
            }
            let sha256 = digest(&SHA256, list.as_bytes());
            rows.row(self, &[Cell::Number(id), Cell::Octets(sha256.as_ref()), Cell::Text(&list)])?;
        }
        rows.end(self)?;
        let mut rows = Rows::begin(self, "cluster_authorities", "cluster_id, authority_id, registered_at")?;
        for number in 1..CLUSTERS {
            let id = self.cluster_id(number)?;
            rows.row(self, &[Cell::Number(id), Cell::Number(self.authority), Cell::Number(self.now)])?;
        }
        rows.end(self)
    }

    fn events(&mut self) -> Result<()> {
        let columns =
            "number, at, kind, caller_id, caller_groups, request_id, client_request_id, address, detail";
        let mut rows = Rows::begin(self, "events", columns)?;
        for place in 0..self.records {
            let caller = Record::at(place).caller;
            let kind = shape::kind(place);
            let id = shape::octets::<16>(place, 200);
            let address = format!("10.{}.{}.{}", caller % 4, caller % 200, place % 250 + 1);
            let ours = format!("req-{place}");
            let detail = format!("{{\"name\":\"job-{place}\",\"owner\":\"platform\"}}");
            let number = match kind {
                Kind::Certificate => 1,
                Kind::Refusal => 2,
                Kind::Change => 4,
            };
            rows.row(
                self,
                &[
                    Cell::Number(self.first + 1 + place),
                    Cell::Number(self.time(place)),
                    Cell::Number(number),
                    Cell::Number(self.names + 1 + caller),
                    Cell::Nothing,
                    Cell::Octets(&id),
                    if place % 8 == 0 { Cell::Text(&ours) } else { Cell::Nothing },
                    Cell::Text(&address),
                    if kind == Kind::Change { Cell::Text(&detail) } else { Cell::Nothing },
                ],
            )?;
        }
        rows.end(self)
    }

    fn certificates(&mut self) -> Result<()> {
        let columns = "number, authority_id, cluster_id, caller_id, serial, user_name, groups_id, on_behalf_of, \
             reason, key_kind, spki_sha256, \
             owns_key, not_before, not_after, asked_ttl, policy_revision, policies_id, sha256_head, der";
        let clusters = self.clusters()?;
        let mut rows = Rows::begin(self, "certificates", columns)?;
        for place in self.places(Kind::Certificate) {
            let record = Record::at(place);
            let (at, user) = (self.time(place), user(record.user));
            let serial = serial(place);
            let spki = shape::octets::<32>(place, 220);
            let der = varied(&self.der, place);
            let head =
                digest(&SHA256, &der).as_ref().first_chunk().map_or(0, |head| i64::from_be_bytes(*head));
            let reason = format!("ticket {}", place % 90_000 + 10_000);
            rows.row(
                self,
                &[
                    Cell::Number(self.first + 1 + place),
                    Cell::Number(self.authority),
                    Cell::Number(of(&clusters, record.cluster)),
                    Cell::Number(self.names + 1 + record.caller),
                    Cell::Octets(&serial),
                    Cell::Text(&user),
                    Cell::Number(self.lists + 1 + record.groups),
                    if record.names_person { Cell::Text(&user) } else { Cell::Nothing },
                    if record.gives_reason { Cell::Text(&reason) } else { Cell::Nothing },
                    Cell::Text(if record.rsa { "rsa-2048" } else { "p-256" }),
                    Cell::Octets(&spki),
                    Cell::Number(1),
                    Cell::Number(at.saturating_sub(300)),
                    Cell::Number(at + record.ttl),
                    if record.asks_ttl { Cell::Number(record.ttl) } else { Cell::Nothing },
                    Cell::Number(1),
                    Cell::Number(self.lists + 1 + GROUP_LISTS + record.policies),
                    Cell::Signed(head),
                    Cell::Octets(&der),
                ],
            )?;
        }
        rows.end(self)
    }

    fn refusals(&mut self) -> Result<()> {
        let columns = "number, caller_id, cluster_id, user_name, groups_id, on_behalf_of, reason, key_kind, \
             spki_sha256, asked_ttl, code, detail, violations, policy_revision, policies_id";
        let clusters = self.clusters()?;
        let mut rows = Rows::begin(self, "refusals", columns)?;
        for place in self.places(Kind::Refusal) {
            let record = Record::at(place);
            let user = user(record.user);
            let spki = shape::octets::<32>(place, 220);
            let code = usize::try_from(record.ttl / 7 % 5).ok().and_then(|code| shape::CODES.get(code));
            let violations = format!(
                "[{{\"claim\":\"group\",\"value\":\"admins\",\"rule\":\"default\",\"reason\":\"no row allows it\",\
                 \"allowed\":[\"{}\"]}}]",
                group(record.groups % GROUPS)
            );
            rows.row(
                self,
                &[
                    Cell::Number(self.first + 1 + place),
                    Cell::Number(self.names + 1 + record.caller),
                    Cell::Number(of(&clusters, record.cluster)),
                    Cell::Text(&user),
                    Cell::Number(self.lists + 1 + record.groups),
                    if record.names_person { Cell::Text(&user) } else { Cell::Nothing },
                    Cell::Nothing,
                    Cell::Text("p-256"),
                    Cell::Octets(&spki),
                    if record.asks_ttl { Cell::Number(record.ttl) } else { Cell::Nothing },
                    Cell::Text(code.copied().unwrap_or("policy_denied")),
                    Cell::Text("group `admins` is not allowed for this caller: ask for one of those listed"),
                    Cell::Text(&violations),
                    Cell::Number(1),
                    Cell::Number(self.lists + 1 + GROUP_LISTS + record.policies),
                ],
            )?;
        }
        rows.end(self)
    }

    /// Name by name, so that a table that is an index grows at its end.
    fn members(&mut self) -> Result<()> {
        let groups = self.names + 1 + CALLERS;
        let mut members = BTreeSet::new();
        for list in 0..GROUP_LISTS {
            let names = shape::members(list, GROUPS);
            members.extend(names.into_iter().map(|name| (groups + name, self.lists + 1 + list)));
        }
        for list in 0..POLICY_LISTS {
            let names = shape::members(list + 1_000, POLICIES);
            let id = self.lists + 1 + GROUP_LISTS + list;
            members.extend(names.into_iter().map(|name| (groups + GROUPS + name, id)));
        }
        let mut rows = Rows::begin(self, "name_list_members", "name_id, list_id")?;
        for (name, list) in members {
            rows.row(self, &[Cell::Number(name), Cell::Number(list)])?;
        }
        rows.end(self)
    }

    fn places(&self, kind: Kind) -> impl Iterator<Item = u64> + use<> {
        (0..self.records).filter(move |place| shape::kind(*place) == kind)
    }

    fn time(&self, place: u64) -> u64 {
        let begin = self.now.saturating_sub(shape::PERIOD + 60);
        begin + shape::seconds(place, self.records)
    }

    fn clusters(&mut self) -> Result<Vec<u64>> {
        (0..CLUSTERS).map(|number| self.cluster_id(number)).collect()
    }

    /// The first is the one that the service is configured for.
    fn cluster_id(&mut self, number: u64) -> Result<u64> {
        if number > 0 {
            return Ok(self.names + CALLERS + GROUPS + POLICIES + number);
        }
        self.prompt.number("SELECT min(cluster_id) FROM cluster_authorities")
    }
}

/// Rows on their way into one table.
struct Rows {
    head: String,
    text: String,
    waiting: usize,
}

impl Rows {
    fn begin(load: &mut Load<'_>, table: &str, columns: &str) -> Result<Self> {
        let head = match load.engine {
            Engine::Sqlite => format!("INSERT INTO {table} ({columns}) VALUES "),
            Engine::Postgres => {
                load.prompt.write(&format!("COPY {table} ({columns}) FROM STDIN;\n"))?;
                String::new()
            }
        };
        Ok(Self { head, text: String::new(), waiting: 0 })
    }

    fn row(&mut self, load: &mut Load<'_>, cells: &[Cell<'_>]) -> Result<()> {
        let engine = load.engine;
        let (between, before, after) = match engine {
            Engine::Sqlite => (",", if self.waiting == 0 { "(" } else { ",(" }, ")"),
            Engine::Postgres => ("\t", "", "\n"),
        };
        self.text.push_str(before);
        for (place, cell) in cells.iter().enumerate() {
            self.text.push_str(if place == 0 { "" } else { between });
            push(&mut self.text, cell, engine)?;
        }
        self.text.push_str(after);
        self.waiting += 1;
        if self.waiting == ROWS { self.flush(load) } else { Ok(()) }
    }

    fn flush(&mut self, load: &mut Load<'_>) -> Result<()> {
        if self.waiting > 0 {
            match load.engine {
                Engine::Sqlite => load.prompt.write(&format!("{}{};\n", self.head, self.text))?,
                Engine::Postgres => load.prompt.write(&self.text)?,
            }
        }
        self.text.clear();
        self.waiting = 0;
        Ok(())
    }

    fn end(mut self, load: &mut Load<'_>) -> Result<()> {
        self.flush(load)?;
        match load.engine {
            Engine::Sqlite => Ok(()),
            Engine::Postgres => load.prompt.write("\\.\n"),
        }
    }
}

fn push(text: &mut String, cell: &Cell<'_>, engine: Engine) -> Result<()> {
    match (cell, engine) {
        (Cell::Number(number), _) => write!(text, "{number}")?,
        (Cell::Signed(number), _) => write!(text, "{number}")?,
        (Cell::Text(plain), Engine::Sqlite) => write!(text, "'{plain}'")?,
        (Cell::Text(plain), Engine::Postgres) => text.push_str(plain),
        (Cell::Octets(octets), Engine::Sqlite) => write!(text, "x'{}'", hex::encode(octets))?,
        (Cell::Octets(octets), Engine::Postgres) => write!(text, "\\\\x{}", hex::encode(octets))?,
        (Cell::Nothing, Engine::Sqlite) => text.push_str("NULL"),
        (Cell::Nothing, Engine::Postgres) => text.push_str("\\N"),
    }
    Ok(())
}

fn of(all: &[u64], place: u64) -> u64 {
    usize::try_from(place).ok().and_then(|place| all.get(place)).copied().unwrap_or(0)
}

fn json(members: &[u64], name: fn(u64) -> String) -> String {
    let names: Vec<String> = members.iter().map(|member| format!("\"{}\"", name(*member))).collect();
    format!("[{}]", names.join(","))
}

/// A serial of ours: positive, of full width.
pub fn serial(place: u64) -> [u8; 16] {
    let mut serial = shape::octets::<16>(place, 210);
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x3f | 0x40;
    }
    serial
}

/// One that the service signed, with most of its signature replaced to make it another.
fn varied(signed: &[u8], place: u64) -> Vec<u8> {
    let mut der = signed.to_vec();
    der.truncate(signed.len().saturating_sub(VARIED));
    der.extend(shape::octets::<VARIED>(place, 240));
    der
}

/// The credential id of that one, without its label.
pub fn sha256(signed: &[u8], place: u64) -> String {
    hex::encode(digest(&SHA256, &varied(signed, place)))
}

pub fn user(number: u64) -> String {
    format!("user-{number:04}@corp.example")
}

pub fn caller(number: u64) -> String {
    if number < shape::PORTALS {
        format!("token:portal-{number:02}")
    } else {
        format!("oidc:corp:person-{number:03}")
    }
}

pub fn group(number: u64) -> String {
    format!("team-{number:02}")
}

pub fn policy(number: u64) -> String {
    format!("row-{number:02}")
}

pub fn cluster(number: u64) -> String {
    if number == 0 { "bench".to_owned() } else { format!("cluster-{number}") }
}

/// How the command line says it.
pub fn now() -> Result<u64> {
    let now = countersign::clock::Clock::System.now().unix();
    u64::try_from(now).context("the clock stands before 1970")
}

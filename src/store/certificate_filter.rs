//! Which certificates are wanted.

use super::StoreError;
use super::certificates::sha256_head;
use super::connection::Connection;
use super::engine::Engine;
use super::lifetimes::{CLASSES, Validity};
use super::own::Own;
use super::search::{Lead, Search, Table, Test};
use super::times::{Numbers, Period, numbers};
use crate::audit::EventKind;
use crate::pki::serial::Serial;
use crate::time::Time;

/// Whether a certificate is valid at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateStatus {
    /// From notBefore to notAfter, both inclusive (RFC 5280 section 4.1.2.5).
    Active,
    /// After notAfter.
    Expired,
}

/// Which certificates are wanted: those that match all that is given. Every `after` includes its
/// time and every `before` does not, so that two periods that meet share nothing.
#[derive(Clone, Debug, Default)]
pub struct CertificateFilter {
    /// The user name, exactly.
    pub user: Option<String>,
    /// One of the groups, exactly.
    pub group: Option<String>,
    /// The cluster's name.
    pub cluster: Option<String>,
    /// Who asked, as `token:portal`.
    pub caller: Option<String>,
    /// Whose own they must be.
    pub own: Option<Own>,
    /// The person that was named.
    pub on_behalf_of: Option<String>,
    /// The serial, under whichever CA.
    pub serial: Option<Serial>,
    /// The credential id.
    pub sha256: Option<[u8; 32]>,
    /// One of the deciding rows.
    pub policy: Option<String>,
    /// Its status at this moment.
    pub status: Option<(CertificateStatus, Time)>,
    /// Decided at this time or later.
    pub issued_after: Option<Time>,
    /// Decided before this time.
    pub issued_before: Option<Time>,
    /// notAfter is this or later.
    pub expires_after: Option<Time>,
    /// notAfter is earlier than this.
    pub expires_before: Option<Time>,
    /// Valid at this moment.
    pub valid_at: Option<Time>,
    /// Valid at some moment between these two, both included.
    pub valid_between: Option<(Time, Time)>,
}

static TABLE: Table = Table {
    from: " FROM certificates c",
    behind_lists: " FROM name_list_members m CROSS JOIN certificates c",
};

/// The lists of a record.
pub(super) const GROUPS: &str = "c.groups_id";
pub(super) const POLICIES: &str = "c.policies_id";

impl CertificateFilter {
    /// The search, its times turned into numbers.
    pub(super) async fn timed_search(&self, connection: &mut Connection) -> Result<Search<'_>, StoreError> {
        let mut search = Search { engine: connection.engine(), ..self.search() };
        let mut periods = vec![self.issued()];
        if !search.validity.is_any() {
            periods.extend((0..CLASSES).map(|class| search.validity.issued(class)));
        }
        let mut found = numbers(connection, EventKind::CertificateIssued, &periods).await?.into_iter();
        search.numbers = found.next().unwrap_or(search.numbers);
        search.classes = found.collect();
        // Whatever leads, what is valid then was issued in one of these stretches.
        if let Some(all) = search.classes.iter().copied().reduce(Numbers::and) {
            search.numbers = search.numbers.within(all);
        }
        search.bounded(connection).await
    }

    /// The search, over all numbers.
    pub(super) fn search(&self) -> Search<'_> {
        Search {
            table: &TABLE,
            leads: self.leads(),
            tests: self.tests(),
            validity: self.validity(),
            classes: Vec::new(),
            numbers: Numbers { above: 0, below: i64::MAX },
            unique: self.serial.is_some() || self.sha256.is_some(),
            engine: Engine::Sqlite,
        }
    }

    fn leads(&self) -> Vec<Lead<'_>> {
        let mut leads = Vec::new();
        if let Some(serial) = &self.serial {
            leads.push(Lead::plain("c.serial = ", "c.serial = ", serial.octets()));
        }
        if let Some(sha256) = &self.sha256 {
            // The whole of it is compared with what was read.
            leads.push(Lead::plain("c.sha256_head = ", "c.sha256_head = ", sha256_head(sha256)));
        }
        if let Some(user) = &self.user {
            leads.push(Lead::plain("c.user_name = ", "c.user_name || '' = ", user));
        }
        if let Some(person) = &self.on_behalf_of {
            leads.push(Lead::plain("c.on_behalf_of = ", "c.on_behalf_of || '' = ", person));
        }
        if let Some(name) = &self.group {
            leads.push(Lead::listed(GROUPS, name));
        }
        if let Some(name) = &self.policy {
            leads.push(Lead::listed(POLICIES, name));
        }
        if let Some(name) = self.caller.as_deref().or_else(|| self.own.as_ref()?.only_name()) {
            leads.push(Lead::name_in_index(CALLER, CALLER_TEST, Engine::caller_in_index, name));
        }
        if let Some(name) = &self.cluster {
            leads.push(Lead::name_in_index(CLUSTER, CLUSTER_TEST, Engine::cluster_in_index, name));
        }
        leads
    }

    fn tests(&self) -> Vec<Test<'_>> {
        let mut tests = Vec::new();
        push_times(&mut tests, self.issued_after, self.issued_before);
        push_own(&mut tests, self.own.as_ref());
        tests
    }

    fn issued(&self) -> Period {
        period(self.issued_after, self.issued_before)
    }

    fn validity(&self) -> Validity {
        let (from, to) = (self.valid_between.map(|two| two.0), self.valid_between.map(|two| two.1));
        let at = |wanted| self.status.filter(|(status, _)| *status == wanted).map(|(_, at)| at);
        let (active, expired) = (at(CertificateStatus::Active), at(CertificateStatus::Expired));
        let least = |times: [Option<Time>; 3]| times.into_iter().flatten().min().map(Time::unix);
        let most = |times: [Option<Time>; 4]| times.into_iter().flatten().max().map(Time::unix);
        Validity {
            begun_by: least([self.valid_at, active, to]),
            lasts_to: most([self.valid_at, active, from, self.expires_after]),
            ended_by: least([expired, self.expires_before, None]),
        }
    }
}

/// Of names, by number; with `+ 0` no index is used.
pub(super) const CALLER: &str = "c.caller_id = (SELECT id FROM names WHERE name = ";
pub(super) const CALLER_TEST: &str = "c.caller_id + 0 = (SELECT id FROM names WHERE name = ";
pub(super) const CLUSTER: &str = "c.cluster_id = (SELECT id FROM names WHERE name = ";
pub(super) const CLUSTER_TEST: &str = "c.cluster_id + 0 = (SELECT id FROM names WHERE name = ";

/// From `after` on and before `before`, exactly.
pub(super) fn push_times(tests: &mut Vec<Test<'_>>, after: Option<Time>, before: Option<Time>) {
    tests.extend(after.map(|after| Test::Time(" >= ", after.unix())));
    tests.extend(before.map(|before| Test::Time(" < ", before.unix())));
}

/// Whose they are, where their caller's name does not say so already.
pub(super) fn push_own<'f>(tests: &mut Vec<Test<'f>>, own: Option<&'f Own>) {
    tests.extend(own.filter(|own| !own.is_whole_name()).map(Test::Own));
}

pub(super) fn period(after: Option<Time>, before: Option<Time>) -> Period {
    Period { from: after.map(Time::unix), until: before.map(Time::unix) }
}

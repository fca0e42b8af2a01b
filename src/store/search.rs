//! Finds the numbers of the rows that match, in order, along the index that leaves the fewest.
//!
//! A list is read in two steps of one statement: the numbers of a page, mostly out of indexes
//! alone, then the rows. Every index that may lead has the number behind its own column, so no
//! list is ever sorted. Where several could lead, the first two hundred numbers of each say which
//! is the sparsest hereabouts.

use super::connection::Connection;
use super::engine::Engine;
use super::lifetimes::{CLASS, CLASSES, Validity};
use super::own::Own;
use super::statement::{Statement, Value};
use super::times::Numbers;
use super::{Span, StoreError};

/// How many numbers of an index are looked at to tell how sparse it is.
const PROBE: u32 = 200;

/// The density of a path whose every number was looked at, for each of them: below that of any other.
const ALL_THERE_IS: f64 = 1e-12;
/// A lead with so many numbers before it, going by the first of them, is read to its end sooner than the classes
/// of lifetimes are looked at.
const FEW: f64 = 2_000.0;

/// The statement's literal for each class: a bound one would hide the index.
const CLASS_IS: [&str; CLASSES] =
    [" = 0", " = 1", " = 2", " = 3", " = 4", " = 5", " = 6", " = 7", " = 8", " = 9"];

/// A table whose rows are listed, under the alias `c`.
#[derive(Debug)]
pub(super) struct Table {
    /// ` FROM certificates c`.
    pub(super) from: &'static str,
    /// ` CROSS JOIN certificates c`, behind members.
    pub(super) join: &'static str,
    /// ` FROM certificate_groups m` and ` EXISTS (SELECT 1 FROM certificate_groups x WHERE x.number = `.
    pub(super) groups: [&'static str; 2],
    /// The same of policies.
    pub(super) policies: [&'static str; 2],
}

/// A condition that an index stands behind, ordered by number within one value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lead<'f> {
    /// A column: how it reads where its index is to be used, and where not. `in_index` asks its index about
    /// one number, which is sooner done than reading the row where nothing else of it is wanted.
    Column {
        lead: &'static str,
        test: &'static str,
        in_index: Option<&'static str>,
        end: &'static str,
        value: Value<'f>,
    },
    /// Membership in a group or policy.
    Member { table: [&'static str; 2], name: &'f str },
}

impl<'f> Lead<'f> {
    /// A column of names' numbers.
    pub(super) fn name(lead: &'static str, test: &'static str, name: &'f str) -> Self {
        Self::Column { lead, test, in_index: None, end: ")", value: name.into() }
    }

    /// The same, with what is looked up in its index about the number `c.number`.
    pub(super) fn name_in_index(
        lead: &'static str,
        test: &'static str,
        in_index: &'static str,
        name: &'f str,
    ) -> Self {
        Self::Column { lead, test, in_index: Some(in_index), end: ")", value: name.into() }
    }

    /// A column of texts or octets.
    pub(super) fn plain(lead: &'static str, test: &'static str, value: impl Into<Value<'f>>) -> Self {
        Self::Column { lead, test, in_index: None, end: "", value: value.into() }
    }

    fn push_lead(&self, statement: &mut Statement<'f>) {
        match *self {
            Self::Column { lead, end, value, .. } => {
                statement.push(" AND ").push(lead).bind(value).push(end);
            }
            Self::Member { name, .. } => {
                statement.push(" AND m.name_id = (SELECT id FROM names WHERE name = ").bind(name).push(")");
            }
        }
    }

    fn push_test(&self, statement: &mut Statement<'f>, key: &'static str, path: Path) {
        match *self {
            // Along the classes of lifetimes everything else is in the index.
            Self::Column { in_index: Some(in_index), end, value, .. } if path == Path::Lifetimes => {
                statement.push(" AND ").push(in_index).bind(value).push(end).push(")");
            }
            Self::Column { test, end, value, .. } => {
                statement.push(" AND ").push(test).bind(value).push(end);
            }
            Self::Member { table: [_, exists], name } => {
                statement.push(" AND ").push(exists).push(key);
                statement.push(" AND x.name_id = (SELECT id FROM names WHERE name = ").bind(name).push("))");
            }
        }
    }
}

/// A condition that is only ever tested.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test<'f> {
    /// On the row: `c.code = `.
    Row(&'static str, Value<'f>),
    /// On the time of its event: ` >= `.
    Time(&'static str, i64),
    /// On whose it is.
    Own(&'f Own),
}

/// Everything that is asked.
#[derive(Debug)]
pub(super) struct Search<'f> {
    pub(super) table: &'static Table,
    /// In the order in which they are preferred where nothing else decides.
    pub(super) leads: Vec<Lead<'f>>,
    pub(super) tests: Vec<Test<'f>>,
    pub(super) validity: Validity,
    /// One stretch for each class of lifetimes; empty where validity is not asked for.
    pub(super) classes: Vec<Numbers>,
    /// What lies outside does not match.
    pub(super) numbers: Numbers,
    /// Whether the first lead finds one row or two, so that nothing is to be weighed.
    pub(super) unique: bool,
    /// In whose words.
    pub(super) engine: Engine,
}

/// Along what the numbers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// The table itself.
    Rows,
    /// One of the leads.
    Lead(usize),
    /// The classes of lifetimes.
    Lifetimes,
}

impl<'f> Search<'f> {
    /// The paths that there are.
    fn paths(&self) -> Vec<Path> {
        let mut paths: Vec<Path> = (0..self.leads.len()).map(Path::Lead).collect();
        if !self.classes.is_empty() {
            paths.push(Path::Lifetimes);
        }
        if self.unique {
            paths.truncate(1);
        }
        paths
    }

    /// The path with the fewest numbers at the beginning of `span`. The classes of lifetimes, which take
    /// longest to look at, are left out where another path has few numbers in all.
    pub(super) async fn path(&self, connection: &mut Connection, span: Span) -> Result<Path, StoreError> {
        let paths = self.paths();
        let (leads, classes) = match paths.split_last() {
            None => return Ok(Path::Rows),
            Some((only, [])) => return Ok(*only),
            Some((Path::Lifetimes, leads)) => (leads, &[Path::Lifetimes][..]),
            Some(_) => (paths.as_slice(), &[][..]),
        };
        let lead = self.sparsest(connection, leads, span).await?;
        if classes.is_empty() || lead.numbers <= FEW {
            return Ok(lead.path);
        }
        let of_classes = self.sparsest(connection, classes, span).await?;
        Ok(if of_classes.density < lead.density { of_classes.path } else { lead.path })
    }

    /// The sparsest of `paths`.
    async fn sparsest(
        &self,
        connection: &mut Connection,
        paths: &[Path],
        span: Span,
    ) -> Result<Sparsest, StoreError> {
        let first = paths.first().copied().unwrap_or(Path::Rows);
        let mut sparsest = Sparsest { path: first, density: f64::INFINITY, numbers: f64::INFINITY };
        for row in self.probe(paths, span).all(&mut *connection).await? {
            let place = usize::try_from(row.try_get::<i64>("place")?).unwrap_or(0);
            let found = row.try_get::<i64>("found")?;
            let passed = row.try_get::<i64>("highest")?.saturating_sub(row.try_get::<i64>("lowest")?);
            let newest = Numbers { above: 0, below: row.try_get::<i64>("newest")?.saturating_add(1) };
            let all = of(span).within(self.numbers).within(newest);
            if let (Some(path), density) = (paths.get(place), density(found, passed))
                && density < sparsest.density
            {
                let numbers = if found < i64::from(PROBE) {
                    float(found)
                } else {
                    density * float(all.below.saturating_sub(all.above))
                };
                sparsest = Sparsest { path: *path, density, numbers };
            }
        }
        Ok(sparsest)
    }

    /// Every path that may be taken.
    #[cfg(test)]
    pub(super) fn all_paths(&self) -> Vec<Path> {
        let paths = self.paths();
        if paths.is_empty() { vec![Path::Rows] } else { paths }
    }

    /// What a path reads along, for people.
    pub(super) fn named(&self, path: Path) -> &'static str {
        match path {
            Path::Rows => "all rows",
            Path::Lifetimes => "lifetimes",
            Path::Lead(place) => match self.leads.get(place) {
                Some(Lead::Column { lead, .. }) => lead.split(' ').next().unwrap_or(lead),
                Some(Lead::Member { table: [from, _], .. }) => from,
                None => "nothing",
            },
        }
    }

    /// How many numbers, and how far apart, each path has next.
    pub(super) fn probe(&self, paths: &[Path], span: Span) -> Statement<'f> {
        let mut statement = Statement::new("");
        for (place, path) in paths.iter().enumerate() {
            statement.push(if place == 0 { "SELECT CAST(" } else { " UNION ALL SELECT CAST(" });
            statement
                .bind(i64::try_from(place).unwrap_or(0))
                .push(" AS BIGINT) AS place, count(*) AS found, ");
            statement.push("COALESCE(min(number), 0) AS lowest, COALESCE(max(number), 0) AS highest, ");
            statement.push("(SELECT number FROM state WHERE id = 1) AS newest FROM (");
            match path {
                Path::Lifetimes => {
                    self.push_classes(&mut statement, Span { limit: PROBE, ..span }, false, true);
                }
                Path::Rows | Path::Lead(_) => self.push_along(&mut statement, *path, span, false),
            }
            statement.push(" ORDER BY number").push(span.direction()).bind(PROBE).push(") p");
        }
        statement
    }

    /// The numbers of the page.
    pub(super) fn push_numbers(&self, statement: &mut Statement<'f>, path: Path, span: Span) {
        match path {
            Path::Lifetimes => self.push_classes(statement, span, true, true),
            Path::Rows | Path::Lead(_) => self.push_along(statement, path, span, true),
        }
        statement.push(" ORDER BY number").push(span.direction()).bind(span.limit);
    }

    /// Every number that matches, in no order.
    pub(super) fn push_all_numbers(&self, statement: &mut Statement<'f>, path: Path, span: Span) {
        match path {
            Path::Lifetimes => self.push_classes(statement, span, true, false),
            Path::Rows | Path::Lead(_) => self.push_along(statement, path, span, true),
        }
    }

    /// Whether nothing is asked.
    pub(super) fn is_everything(&self) -> bool {
        self.leads.is_empty() && self.tests.is_empty() && self.validity.is_any()
    }

    fn push_along(&self, statement: &mut Statement<'f>, path: Path, span: Span, tested: bool) {
        let lead = match path {
            Path::Lead(place) => self.leads.get(place),
            Path::Rows | Path::Lifetimes => None,
        };
        let members = match lead {
            Some(Lead::Member { table: [from, _], .. }) => Some(*from),
            _ => None,
        };
        let key = if members.is_some() { "m.number" } else { "c.number" };
        statement.push("SELECT ").push(key).push(" AS number").push(members.unwrap_or(self.table.from));
        let joined = members.is_some() && tested && self.tests_rows(path);
        if joined {
            statement.push(self.table.join);
        }
        statement.push(" WHERE ");
        push_between(statement, key, self.numbers.within(of(span)));
        if joined {
            statement.push(" AND c.number = m.number");
        }
        if let Some(lead) = lead {
            lead.push_lead(statement);
        }
        if tested {
            self.push_validity(statement);
            self.push_tests(statement, path, key);
        }
    }

    /// Whether a member's own number is not enough.
    fn tests_rows(&self, path: Path) -> bool {
        let other = |place: usize| Path::Lead(place) != path;
        let columns = self.leads.iter().enumerate();
        let mut columns = columns.filter(|(_, lead)| matches!(lead, Lead::Column { .. }));
        columns.any(|(place, _)| other(place))
            || !self.validity.is_any()
            || self.tests.iter().any(|test| matches!(test, Test::Row(..) | Test::Own(_)))
    }

    /// `ended`: no more of each class than `span` has.
    fn push_classes(&self, statement: &mut Statement<'f>, span: Span, tested: bool, ended: bool) {
        for (place, (is, numbers)) in CLASS_IS.iter().zip(&self.classes).enumerate() {
            statement.push(if place == 0 { "" } else { " UNION ALL " });
            let part = |statement: &mut Statement<'f>| {
                statement.push("SELECT c.number AS number").push(self.table.from).push(" WHERE ");
                statement.push(CLASS).push(is).push(" AND ");
                push_between(statement, "c.number", numbers.within(of(span)).within(self.numbers));
                self.push_validity(statement);
                if tested {
                    self.push_tests(statement, Path::Lifetimes, "c.number");
                }
            };
            if ended {
                span.push_part(statement, self.engine, "c.number", part);
            } else {
                part(statement);
            }
        }
    }

    fn push_validity(&self, statement: &mut Statement<'f>) {
        for (compare, at) in [
            (" AND c.not_before <= ", self.validity.begun_by),
            (" AND c.not_after >= ", self.validity.lasts_to),
            (" AND c.not_after < ", self.validity.ended_by),
        ] {
            if let Some(at) = at {
                statement.push(compare).bind(at);
            }
        }
    }

    fn push_tests(&self, statement: &mut Statement<'f>, path: Path, key: &'static str) {
        for (place, lead) in self.leads.iter().enumerate() {
            if Path::Lead(place) != path {
                lead.push_test(statement, key, path);
            }
        }
        for test in &self.tests {
            match *test {
                Test::Row(compare, value) => {
                    statement.push(" AND ").push(compare).bind(value);
                }
                Test::Own(own) => own.push_test(statement),
                Test::Time(compare, at) => {
                    statement.push(" AND (SELECT t.at FROM events t WHERE t.number = ").push(key);
                    statement.push(")").push(compare).bind(at);
                }
            }
        }
    }
}

fn of(span: Span) -> Numbers {
    Numbers { above: span.above, below: span.below }
}

fn push_between(statement: &mut Statement<'_>, key: &'static str, numbers: Numbers) {
    statement.push(key).push(" > ").bind(numbers.above);
    statement.push(" AND ").push(key).push(" < ").bind(numbers.below);
}

/// The sparsest of several paths.
struct Sparsest {
    path: Path,
    /// Its numbers for each number that is passed, going by the first of them.
    density: f64,
    /// How many it has in all, going by the same.
    numbers: f64,
}

/// Rows for each number that is passed. Fewer than were asked for: next to nothing.
fn density(found: i64, passed: i64) -> f64 {
    if found < i64::from(PROBE) { float(found) * ALL_THERE_IS } else { float(found) / float(passed.max(1)) }
}

fn float(number: i64) -> f64 {
    u32::try_from(number).map_or(f64::from(u32::MAX), f64::from)
}

//! Finds the numbers of the rows that match, in order, along the index that leaves the fewest.
//!
//! A list is read in two steps of one statement: the numbers of a page, mostly out of indexes
//! alone, then the rows. Every index that may lead has the number behind its own column, so no
//! list is ever sorted. Where several could lead, the first two hundred numbers of each say which
//! is the sparsest hereabouts.
//!
//! Groups and policies are the exception. A record has the number of a list, and a name is in many
//! lists, whose numbers come one list after the other. So these are read in stretches of numbers,
//! and only what is found in one stretch is sorted. Where one has little the next is some times as
//! long, up to a length; where one has nothing the next begins at the next number that there is. A
//! name in very many lists is only tested: most records have it, or there are not that many lists.

use super::connection::Connection;
use super::engine::Engine;
use super::lifetimes::{CLASS, CLASSES, Validity};
use super::own::Own;
use super::row::Row;
use super::statement::{Statement, Value};
use super::times::Numbers;
use super::{Order, Span, StoreError};

/// How many numbers of an index are looked at to tell how sparse it is.
const PROBE: u32 = 200;

/// The density of a path whose every number was looked at, for each of them: below that of any other.
const ALL_THERE_IS: f64 = 1e-12;
/// What is counted for a path with nothing in its first stretch.
const LESS_THAN_ONE: f64 = 0.5;
/// A lead with so many numbers before it, going by the first of them, is read to its end sooner than the classes
/// of lifetimes are looked at.
const FEW: f64 = 2_000.0;

/// How many numbers the first stretch has, at least.
const STRETCH: i64 = 256;
/// How many times as long a stretch is as the one before at most, and its greatest length.
const GROWTH: i64 = 8;
const LONGEST_STRETCH: i64 = 65_536;
/// In so many lists a name is not looked for list by list.
const CROWD: i64 = 4_096;
/// How many numbers are looked at to tell how sparse such a path is.
const PROBED: i64 = 1_024;

/// The statement's literal for each class: a bound one would hide the index.
const CLASS_IS: [&str; CLASSES] =
    [" = 0", " = 1", " = 2", " = 3", " = 4", " = 5", " = 6", " = 7", " = 8", " = 9"];

/// A table whose rows are listed, under the alias `c`.
#[derive(Debug)]
pub(super) struct Table {
    /// ` FROM certificates c`.
    pub(super) from: &'static str,
    /// The same behind the lists `m` that a name is in.
    pub(super) behind_lists: &'static str,
}

/// A condition that an index stands behind, ordered by number within one value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lead<'f> {
    /// A column: how it reads where its index is to be used, and where not. `in_index` asks its index about
    /// one number, where that is sooner done than reading the row of which nothing else is wanted.
    Column {
        lead: &'static str,
        test: &'static str,
        in_index: fn(Engine) -> Option<&'static str>,
        end: &'static str,
        value: Value<'f>,
    },
    /// A name in the record's list of groups, or of policies: `c.groups_id`. `crowded` once it is known to be
    /// in [`CROWD`] lists.
    Listed { list: &'static str, name: &'f str, crowded: bool },
}

impl<'f> Lead<'f> {
    /// A column of names' numbers.
    pub(super) fn name(lead: &'static str, test: &'static str, name: &'f str) -> Self {
        Self::Column { lead, test, in_index: |_| None, end: ")", value: name.into() }
    }

    /// The same, with what is looked up in its index about the number `c.number`.
    pub(super) fn name_in_index(
        lead: &'static str,
        test: &'static str,
        in_index: fn(Engine) -> Option<&'static str>,
        name: &'f str,
    ) -> Self {
        Self::Column { lead, test, in_index, end: ")", value: name.into() }
    }

    /// A name in the list of `list`.
    pub(super) fn listed(list: &'static str, name: &'f str) -> Self {
        Self::Listed { list, name, crowded: false }
    }

    /// A column of texts or octets.
    pub(super) fn plain(lead: &'static str, test: &'static str, value: impl Into<Value<'f>>) -> Self {
        Self::Column { lead, test, in_index: |_| None, end: "", value: value.into() }
    }

    fn push_lead(&self, statement: &mut Statement<'f>) {
        match *self {
            Self::Column { lead, end, value, .. } => {
                statement.push(" AND ").push(lead).bind(value).push(end);
            }
            Self::Listed { list, name, .. } => {
                statement.push(" AND m.name_id = (SELECT id FROM names WHERE name = ").bind(name);
                statement.push(") AND m.list_id = ").push(list);
            }
        }
    }

    fn push_test(&self, statement: &mut Statement<'f>, path: Path, engine: Engine) {
        match *self {
            Self::Column { test, in_index, end, value, .. } => {
                statement.push(" AND ");
                match in_index(engine) {
                    // Along the classes of lifetimes everything else is in the index.
                    Some(in_index) if path == Path::Lifetimes => {
                        statement.push(in_index).bind(value).push(end).push(")");
                    }
                    _ => {
                        statement.push(test).bind(value).push(end);
                    }
                }
            }
            Self::Listed { list, name, .. } => {
                // With `+ 0`, so that no engine begins with the lists.
                statement.push(" AND EXISTS (SELECT 1 FROM name_list_members x WHERE x.list_id = ");
                statement.push(list).push(" + 0 AND x.name_id = (SELECT id FROM names WHERE name = ");
                statement.bind(name).push("))");
            }
        }
    }
}

/// A condition that is only ever tested.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test<'f> {
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
        let leads = self.leads.iter().enumerate();
        let leads = leads.filter(|(_, lead)| !matches!(lead, Lead::Listed { crowded: true, .. }));
        let mut paths: Vec<Path> = leads.map(|(place, _)| Path::Lead(place)).collect();
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
            let Some(path) = paths.get(place) else { continue };
            let found = row.try_get::<i64>("found")?;
            let newest = Numbers { above: 0, below: row.try_get::<i64>("newest")?.saturating_add(1) };
            let all = self.numbers.within(of(span)).within(newest).count();
            let (whole, passed) = if self.is_listed(*path) {
                let probed = self.probed(span).count();
                (probed >= all, probed)
            } else {
                let passed = row.try_get::<i64>("highest")?.saturating_sub(row.try_get::<i64>("lowest")?);
                (found < i64::from(PROBE), passed)
            };
            let density = if whole {
                float(found) * ALL_THERE_IS
            } else {
                float(found).max(LESS_THAN_ONE) / float(passed.max(1))
            };
            let numbers = if whole { float(found) } else { density * float(all) };
            if density < sparsest.density {
                sparsest = Sparsest { path: *path, density, numbers };
            }
        }
        Ok(sparsest)
    }

    /// Ends the numbers with the newest one, where stretches are to be cut off them, and looks which names are in
    /// very many lists.
    pub(super) async fn bounded(mut self, connection: &mut Connection) -> Result<Self, StoreError> {
        if !self.leads.iter().any(|lead| matches!(lead, Lead::Listed { .. })) {
            return Ok(self);
        }
        let mut select = Statement::new("SELECT number");
        for lead in &self.leads {
            if let Lead::Listed { name, .. } = *lead {
                select.push(
                    ", (SELECT count(*) FROM (SELECT 1 AS one FROM name_list_members m WHERE m.name_id = ",
                );
                select.push("(SELECT id FROM names WHERE name = ").bind(name).push(") LIMIT ").bind(CROWD);
                select.push(") x)");
            }
        }
        select.push(" FROM state WHERE id = 1");
        let row = select.optional(connection).await?;
        let row = row.ok_or_else(|| StoreError::Corrupt("state: its row is not there".to_owned()))?;
        let newest = row.at::<i64>(0)?;
        self.numbers = self.numbers.within(Numbers { above: 0, below: newest.saturating_add(1) });
        let listed = self.leads.iter_mut().filter_map(|lead| match lead {
            Lead::Listed { crowded, .. } => Some(crowded),
            Lead::Column { .. } => None,
        });
        for (place, crowded) in (1..).zip(listed) {
            *crowded = row.at::<i64>(place)? >= CROWD;
        }
        Ok(self)
    }

    /// The rows of a page, in no order. `select` makes the statement for a stretch of its numbers.
    pub(super) async fn rows(
        &self,
        connection: &mut Connection,
        path: Path,
        span: Span,
        select: impl Fn(&Self, Path, Span) -> Statement<'f>,
    ) -> Result<Vec<Row>, StoreError> {
        if !self.is_listed(path) {
            return select(self, path, span).all(connection).await;
        }
        let mut rows: Vec<Row> = Vec::new();
        let mut rest = Some(self.numbers.within(of(span)));
        let mut length = STRETCH.max(i64::from(span.limit).saturating_mul(2));
        while let Some(numbers) = rest {
            let limit = span.limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
            if limit == 0 {
                break;
            }
            let (Numbers { above, below }, behind) = numbers.cut(length, span.order);
            let found =
                select(self, path, Span { above, below, limit, ..span }).all(&mut *connection).await?;
            rest = match behind {
                Some(behind) if found.is_empty() => self.begun(connection, path, behind, span.order).await?,
                behind => behind,
            };
            // Twice as long as it would have to be, going by this one.
            let found_here = i64::try_from(found.len()).unwrap_or(i64::MAX);
            let times = i64::from(limit).saturating_mul(2).checked_div(found_here).unwrap_or(1);
            length = length.saturating_mul(times.clamp(1, GROWTH)).min(LONGEST_STRETCH.max(length));
            rows.extend(found);
        }
        Ok(rows)
    }

    /// `numbers` from the first one on that there is along `path`, in this order. None if there is none.
    pub(super) async fn begun(
        &self,
        connection: &mut Connection,
        path: Path,
        numbers: Numbers,
        order: Order,
    ) -> Result<Option<Numbers>, StoreError> {
        let Some(Lead::Listed { list, name, .. }) = self.lead(path) else { return Ok(Some(numbers)) };
        let mut select = Statement::new("SELECT ");
        // The edge of each list, by one look into its index.
        select.push(if order == Order::NewestFirst { "max" } else { "min" }).push("((SELECT ");
        select.push(self.engine.edge_of_shared(order)).push(self.table.from).push(" WHERE ");
        self.engine.push_between_shared(&mut select, numbers);
        select.push(" AND ").push(list).push(" = m.list_id)) AS edge FROM name_list_members m WHERE ");
        select.push("m.name_id = (SELECT id FROM names WHERE name = ").bind(*name).push(")");
        let row = select.optional(connection).await?;
        let edge = row.map(|row| row.try_get::<Option<i64>>("edge")).transpose()?.flatten();
        Ok(edge.map(|edge| match order {
            Order::NewestFirst => {
                let last = self.engine.last_of_shared(edge);
                numbers.within(Numbers { above: i64::MIN, below: last.saturating_add(1) })
            }
            Order::OldestFirst => {
                let first = self.engine.first_of_shared(edge);
                numbers.within(Numbers { above: first.saturating_sub(1), below: i64::MAX })
            }
        }))
    }

    /// The numbers that are looked at to tell how sparse a path is that is read in stretches.
    fn probed(&self, span: Span) -> Numbers {
        self.numbers.within(of(span)).cut(PROBED, span.order).0
    }

    fn lead(&self, path: Path) -> Option<&Lead<'f>> {
        match path {
            Path::Lead(place) => self.leads.get(place),
            Path::Rows | Path::Lifetimes => None,
        }
    }

    /// Whether a path is that of a name in lists, whose numbers do not come in their order.
    fn is_listed(&self, path: Path) -> bool {
        matches!(self.lead(path), Some(Lead::Listed { .. }))
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
            Path::Lead(_) => match self.lead(path) {
                Some(Lead::Column { lead, .. }) => lead.split(' ').next().unwrap_or(lead),
                Some(Lead::Listed { list, .. }) => list,
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
                    statement.push(" ORDER BY number").push(span.direction()).bind(PROBE);
                }
                // Every number of a stretch: to take the first ones they would have to be sorted.
                Path::Lead(_) if self.is_listed(*path) => {
                    let Numbers { above, below } = self.probed(span);
                    self.push_along(&mut statement, *path, Span { above, below, ..span }, false);
                }
                Path::Rows | Path::Lead(_) => {
                    self.push_along(&mut statement, *path, span, false);
                    statement.push(" ORDER BY number").push(span.direction()).bind(PROBE);
                }
            }
            statement.push(") p");
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

    /// Every number that matches. Those of several lists in their order, so that rows are read as they lie.
    pub(super) fn push_all_numbers(&self, statement: &mut Statement<'f>, path: Path, span: Span) {
        match path {
            Path::Lifetimes => self.push_classes(statement, span, true, false),
            Path::Rows | Path::Lead(_) => self.push_along(statement, path, span, true),
        }
        if self.is_listed(path) {
            statement.push(" ORDER BY number");
        }
    }

    /// Whether nothing is asked.
    pub(super) fn is_everything(&self) -> bool {
        self.leads.is_empty() && self.tests.is_empty() && self.validity.is_any()
    }

    fn push_along(&self, statement: &mut Statement<'f>, path: Path, span: Span, tested: bool) {
        let (lead, numbers) = (self.lead(path), self.numbers.within(of(span)));
        if self.is_listed(path) {
            // With `+ 0`, so that no engine walks over all rows for the sake of the order.
            statement.push("SELECT c.number + 0 AS number").push(self.table.behind_lists).push(" WHERE ");
            self.engine.push_between_shared(statement, numbers);
        } else {
            statement.push("SELECT c.number AS number").push(self.table.from).push(" WHERE ");
            push_between(statement, numbers);
        }
        if let Some(lead) = lead {
            lead.push_lead(statement);
        }
        if tested {
            self.push_validity(statement);
            self.push_tests(statement, path);
        }
    }

    /// `ended`: no more of each class than `span` has.
    fn push_classes(&self, statement: &mut Statement<'f>, span: Span, tested: bool, ended: bool) {
        for (place, (is, numbers)) in CLASS_IS.iter().zip(&self.classes).enumerate() {
            statement.push(if place == 0 { "" } else { " UNION ALL " });
            let part = |statement: &mut Statement<'f>| {
                statement.push("SELECT c.number AS number").push(self.table.from).push(" WHERE ");
                statement.push(CLASS).push(is).push(" AND ");
                push_between(statement, numbers.within(of(span)).within(self.numbers));
                self.push_validity(statement);
                if tested {
                    self.push_tests(statement, Path::Lifetimes);
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

    fn push_tests(&self, statement: &mut Statement<'f>, path: Path) {
        for (place, lead) in self.leads.iter().enumerate() {
            if Path::Lead(place) != path {
                lead.push_test(statement, path, self.engine);
            }
        }
        for test in &self.tests {
            match *test {
                Test::Own(own) => own.push_test(statement),
                Test::Time(compare, at) => {
                    statement.push(" AND (SELECT t.at FROM events t WHERE t.number = c.number)");
                    statement.push(compare).bind(at);
                }
            }
        }
    }
}

fn of(span: Span) -> Numbers {
    Numbers { above: span.above, below: span.below }
}

fn push_between(statement: &mut Statement<'_>, numbers: Numbers) {
    statement.push("c.number > ").bind(numbers.above).push(" AND c.number < ").bind(numbers.below);
}

/// The sparsest of several paths.
struct Sparsest {
    path: Path,
    /// Its numbers for each number that is passed, going by the first of them.
    density: f64,
    /// How many it has in all, going by the same.
    numbers: f64,
}

fn float(number: i64) -> f64 {
    u32::try_from(number).map_or(f64::from(u32::MAX), f64::from)
}

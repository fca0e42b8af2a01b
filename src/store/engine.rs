//! What is said otherwise to SQLite than to PostgreSQL. Every other statement has one text.

use std::time::Duration;

use sqlx::AnyConnection;

use super::Order;
use super::statement::Statement;
use super::times::Numbers;

/// Which database keeps the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    /// The one at the other end of a connection of the driver.
    pub(super) fn of(connection: &AnyConnection) -> Self {
        if connection.backend_name() == "SQLite" { Self::Sqlite } else { Self::Postgres }
    }

    /// Begins a transaction that writes. On SQLite it takes the write lock at once: one that reads
    /// first and writes later would fail as soon as another writer came between. On PostgreSQL its
    /// first statement takes the row of `state`, and each later one must see what was committed
    /// until then, whatever the database's default is.
    pub(super) fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        }
    }

    /// Begins a transaction that reads one unchanging view.
    pub(super) fn begin_view(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// The same for work that may go over all of it, which PostgreSQL plans as it likes: see
    /// `connection::postgres` for how it plans lists.
    pub(super) fn begin_survey(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => {
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                 SELECT set_config(s.name, v.value, true) FROM pg_settings s JOIN (VALUES \
                 ('plan_cache_mode', 'auto'), ('enable_seqscan', 'on'), ('enable_bitmapscan', 'on'), \
                 ('enable_hashjoin', 'on'), ('enable_mergejoin', 'on')) v (name, value) ON v.name = s.name"
            }
        }
    }

    /// The database's own clock, as a column. A file has none.
    pub(super) fn time(self) -> &'static str {
        match self {
            Self::Sqlite => "NULL",
            Self::Postgres => "ledger_time()",
        }
    }

    /// Which events are of refusals, in words by which the index of their kind is found: SQLite finds one that
    /// is partial only where its condition stands there too, and PostgreSQL then counts the condition twice.
    pub(super) fn kind_of_refusals(self) -> &'static str {
        match self {
            Self::Sqlite => "e.kind > 1 AND e.kind = 2",
            Self::Postgres => "e.kind = 2",
        }
    }

    /// Bounds the numbers of records `c` that are read along the index of a list's number. On PostgreSQL sixty-four
    /// numbers share an entry of such an index, which so takes less than half the room: it keeps equal entries as
    /// one, with a list of rows. The number itself reads so that its own index is left out.
    pub(super) fn push_between_shared(self, statement: &mut Statement<'_>, numbers: Numbers) {
        let Numbers { above, below } = numbers;
        match self {
            Self::Sqlite => {
                statement.push("c.number > ").bind(above).push(" AND c.number < ").bind(below);
            }
            Self::Postgres => {
                statement.push("(c.number >> 6) >= (").bind(above).push(" >> 6)");
                statement.push(" AND (c.number >> 6) <= (").bind(below).push(" >> 6)");
                statement.push(" AND c.number + 0 > ").bind(above);
                statement.push(" AND c.number + 0 < ").bind(below);
            }
        }
    }

    /// What such an index has at its end in this order: the number, or what sixty-four numbers have in common.
    pub(super) fn edge_of_shared(self, order: Order) -> &'static str {
        match (self, order) {
            (Self::Sqlite, Order::NewestFirst) => "max(c.number)",
            (Self::Sqlite, Order::OldestFirst) => "min(c.number)",
            (Self::Postgres, Order::NewestFirst) => "max(c.number >> 6)",
            (Self::Postgres, Order::OldestFirst) => "min(c.number >> 6)",
        }
    }

    /// The first of the numbers that share it.
    pub(super) fn first_of_shared(self, edge: i64) -> i64 {
        if self == Self::Postgres { edge << 6 } else { edge }
    }

    /// The last of them.
    pub(super) fn last_of_shared(self, edge: i64) -> i64 {
        if self == Self::Postgres { edge << 6 | 63 } else { edge }
    }

    /// Asks the index of a certificate's caller about the one number `c.number`, before a name: a range, and not
    /// equality, with which SQLite would read the row. PostgreSQL reads it anyway.
    pub(super) fn caller_in_index(self) -> Option<&'static str> {
        (self == Self::Sqlite).then_some(
            "EXISTS (SELECT 1 FROM certificates x WHERE x.number >= c.number AND x.number <= c.number \
             AND x.caller_id = (SELECT id FROM names WHERE name = ",
        )
    }

    /// The same of its cluster.
    pub(super) fn cluster_in_index(self) -> Option<&'static str> {
        (self == Self::Sqlite).then_some(
            "EXISTS (SELECT 1 FROM certificates x WHERE x.number >= c.number AND x.number <= c.number \
             AND x.cluster_id = (SELECT id FROM names WHERE name = ",
        )
    }

    /// Whether the parts of a union are read in their common order. PostgreSQL reads all of each part and sorts
    /// them, unless the part itself ends.
    pub(super) fn merges_unions(self) -> bool {
        self == Self::Sqlite
    }

    /// How long a statement, or a transaction that records, may take before its connection is given
    /// up. A file always answers; a server may be gone without a word.
    pub(super) fn patience(self) -> Option<Duration> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(Duration::from_millis(2_500)),
        }
    }
}

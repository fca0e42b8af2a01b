//! Which records are a caller's own.

use super::statement::Statement;

/// The records that are a caller's own: those of each of its names, while the name was its.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own(Vec<Tenure>);

/// A name, and the numbers between which it was this caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// As in `oidc:corp:alice`.
    pub caller: String,
    /// Records above this number.
    pub above: i64,
    /// Records below this number.
    pub below: i64,
}

impl Tenure {
    fn is_for_ever(&self) -> bool {
        self.above <= 0 && self.below == i64::MAX
    }
}

impl Own {
    /// Of a name that is never another's.
    #[must_use]
    pub fn always(caller: String) -> Self {
        Self(vec![Tenure { caller, above: 0, below: i64::MAX }])
    }

    /// Of names that were this caller's from some number on and up to another.
    #[must_use]
    pub fn of(tenures: Vec<Tenure>) -> Self {
        Self(tenures)
    }

    /// Whether the record `number` of `caller` is among them.
    #[must_use]
    pub fn holds(&self, caller: &str, number: i64) -> bool {
        self.0.iter().any(|own| own.caller == caller && own.above < number && number < own.below)
    }

    /// Those under the name `caller` only; none where it never was this caller's.
    #[must_use]
    pub fn under(mut self, caller: &str) -> Option<Self> {
        self.0.retain(|own| own.caller == caller);
        if self.0.is_empty() { None } else { Some(self) }
    }

    /// How many names are still this caller's.
    pub(super) fn live_names(&self) -> usize {
        self.0.iter().filter(|own| own.below == i64::MAX).count()
    }

    /// The one name of all of them, by which they are looked for.
    pub(super) fn only_name(&self) -> Option<&str> {
        let first = &self.0.first()?.caller;
        self.0.iter().all(|own| own.caller == *first).then_some(first)
    }

    /// Whether [`Own::only_name`] says all of it.
    pub(super) fn is_whole_name(&self) -> bool {
        self.0.first().is_some_and(Tenure::is_for_ever) && self.0.len() == 1
    }

    /// ` AND (...)`, on rows `c`.
    pub(super) fn push_test<'o>(&'o self, statement: &mut Statement<'o>) {
        self.push_test_of(statement, ["(c.caller_id + 0", ") AND c.number > ", " AND c.number < "]);
    }

    /// The same, on held requests `q`, which are few.
    pub(super) fn push_test_of_requests<'o>(&'o self, statement: &mut Statement<'o>) {
        self.push_test_of(statement, ["(q.caller_id", ") AND q.number > ", " AND q.number < "]);
    }

    fn push_test_of<'o>(&'o self, statement: &mut Statement<'o>, [caller, above, below]: [&'static str; 3]) {
        for (place, own) in self.0.iter().enumerate() {
            statement.push(if place == 0 { " AND (" } else { " OR " });
            statement.push(caller).push(" = (SELECT id FROM names WHERE name = ").bind(&own.caller);
            statement.push(above).bind(own.above).push(below).bind(own.below).push(")");
        }
        statement.push(if self.0.is_empty() { " AND 1 = 0" } else { ")" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenure(caller: &str, above: i64, below: i64) -> Tenure {
        Tenure { caller: caller.to_owned(), above, below }
    }

    #[test]
    fn a_name_counts_while_it_was_ones_own() {
        let own = Own::of(vec![tenure("oidc:corp:alice", 10, 20), tenure("oidc:corp:al", 30, i64::MAX)]);
        for (caller, number, is) in [
            ("oidc:corp:alice", 10, false),
            ("oidc:corp:alice", 11, true),
            ("oidc:corp:alice", 19, true),
            ("oidc:corp:alice", 20, false),
            ("oidc:corp:al", 15, false),
            ("oidc:corp:al", 31, true),
            ("oidc:corp:bob", 15, false),
        ] {
            assert_eq!(own.holds(caller, number), is, "{caller} {number}");
        }
        assert_eq!((own.only_name(), own.is_whole_name()), (None, false));
        assert_eq!(own.clone().under("oidc:corp:bob"), None);
        let al = own.under("oidc:corp:al").unwrap();
        assert_eq!((al.only_name(), al.is_whole_name()), (Some("oidc:corp:al"), false));
    }

    #[test]
    fn a_tokens_name_is_always_its_own() {
        let own = Own::always("token:a".to_owned());
        assert!(own.holds("token:a", 1) && !own.holds("token:b", 1));
        assert!(own.is_whole_name());
    }
}

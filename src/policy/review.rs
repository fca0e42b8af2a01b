//! What an approval counts for. Pure: the record of a held request in, yes or no out.

use super::approvers::{Approver, ApproverPattern};
use super::person::Person;
use super::{Effect, PolicyRow};
use crate::pki::name::ShortName;
use crate::time::Lifetime;

/// A review row as it held the request, with what it said before.
#[derive(Clone, Debug)]
pub struct ReviewRow {
    /// As it was when the request was held.
    pub row: PolicyRow,
    /// Every version of the row of this name that there ever was, the newest first.
    pub versions: Vec<Version>,
}

/// What a row said from one revision until another.
#[derive(Clone, Debug)]
pub struct Version {
    /// The first revision in which it holds.
    pub from: i64,
    /// The first revision in which it no longer holds.
    pub until: Option<i64>,
    /// What it says.
    pub row: PolicyRow,
    /// Who wrote it.
    pub author: Person,
}

/// One approval.
#[derive(Clone, Debug)]
pub struct Approval {
    /// As he came in.
    pub approver: Approver,
    /// Who that is.
    pub person: Person,
}

/// How far one review row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The row.
    pub policy: ShortName,
    /// How many approvals it wants.
    pub wanted: u32,
    /// How many it has.
    pub given: u32,
}

impl Standing {
    /// Whether it has what it wants.
    #[must_use]
    pub fn is_satisfied(&self) -> bool {
        self.given >= self.wanted
    }
}

/// Why somebody's approval does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// No review row names him.
    NotNamed,
    /// He is the caller, the person that the request names, or the user of the certificate.
    OwnRequest,
    /// He wrote each row that names him.
    OwnRow,
    /// He approved it before, perhaps under another credential.
    Already,
}

/// A held request with its approvals, as the ledger has them. Made by the store alone: what is not
/// recorded is no evidence.
#[derive(Clone, Debug)]
pub struct Evidence {
    rows: Vec<ReviewRow>,
    lifetime: Lifetime,
    parties: Person,
    approvals: Vec<Approval>,
}

impl Evidence {
    /// What was recorded: the review rows by name, the lifetime that was shown, who asks and for
    /// whom, and the approvals whose credential still holds.
    #[must_use]
    pub(crate) fn recorded(
        rows: Vec<ReviewRow>,
        lifetime: Lifetime,
        parties: Person,
        approvals: Vec<Approval>,
    ) -> Self {
        Self { rows, lifetime, parties, approvals }
    }

    /// The lifetime that was shown: a certificate lives no longer.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// How far each row is.
    #[must_use]
    pub fn standing(&self) -> Vec<Standing> {
        self.rows.iter().map(|review| self.standing_of(review)).collect()
    }

    /// Whether every row has what it wants. Without a row nothing was reviewed.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        !self.rows.is_empty() && self.standing().iter().all(Standing::is_satisfied)
    }

    /// Whether these rows, sorted by name, are those that the approvers saw.
    pub(super) fn is_of(&self, rows: &[PolicyRow]) -> bool {
        self.rows.iter().map(|review| &review.row).eq(rows)
    }

    /// Whether a row names `approver`, so that he may look at the request, and deny it.
    #[must_use]
    pub fn concerns(&self, approver: &Approver) -> bool {
        concerns(self.rows.iter().map(|review| &review.row), approver)
    }

    /// Why a further approval would count for no row.
    #[must_use]
    pub fn objection(&self, approval: &Approval) -> Option<Objection> {
        let naming: Vec<&ReviewRow> =
            self.rows.iter().filter(|review| is_named(&review.row, &approval.approver)).collect();
        if naming.is_empty() {
            return Some(Objection::NotNamed);
        }
        if approval.person.is(&self.parties) {
            return Some(Objection::OwnRequest);
        }
        if naming.iter().all(|review| review.was_written_by(approval)) {
            return Some(Objection::OwnRow);
        }
        let again = self.approvals.iter().any(|before| before.person.is(&approval.person));
        again.then_some(Objection::Already)
    }

    fn standing_of(&self, review: &ReviewRow) -> Standing {
        let mut counted: Vec<&Person> = Vec::new();
        for approval in self.approvals.iter().filter(|approval| self.counts_for(review, approval)) {
            if !counted.iter().any(|person| person.is(&approval.person)) {
                counted.push(&approval.person);
            }
        }
        Standing {
            policy: review.row.name.clone(),
            wanted: review.row.approvals.unwrap_or(1),
            given: u32::try_from(counted.len()).unwrap_or(u32::MAX),
        }
    }

    fn counts_for(&self, review: &ReviewRow, approval: &Approval) -> bool {
        is_named(&review.row, &approval.approver)
            && !approval.person.is(&self.parties)
            && !review.was_written_by(approval)
    }
}

impl ReviewRow {
    /// Whether the approver wrote the version that made him one, or a later one. Where the history is
    /// not known, it may be so.
    fn was_written_by(&self, approval: &Approval) -> bool {
        let mut expected_end = None;
        for (place, version) in self.versions.iter().enumerate() {
            let follows = version.until == expected_end;
            let names = version.row.effect == Effect::Review && is_named(&version.row, &approval.approver);
            if !follows || !names {
                return place == 0;
            }
            if version.author.is(&approval.person) {
                return true;
            }
            expected_end = Some(version.from);
        }
        self.versions.is_empty()
    }
}

/// Whether one of these rows names `approver`.
pub fn concerns<'r>(mut rows: impl Iterator<Item = &'r PolicyRow>, approver: &Approver) -> bool {
    rows.any(|row| is_named(row, approver))
}

/// An entry that cannot be read names nobody.
fn is_named(row: &PolicyRow, approver: &Approver) -> bool {
    let mut entries = row.approvers.iter().flatten();
    entries.any(|text| ApproverPattern::parse(text).is_ok_and(|pattern| pattern.names(approver)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::testing::{row, short};

    fn review(approvers: &[&str], approvals: u32) -> PolicyRow {
        row(json!({"name": "review", "effect": "review", "approvers": approvers, "approvals": approvals}))
    }

    fn version(from: i64, until: Option<i64>, approvers: &[&str], author: &str) -> Version {
        Version { from, until, row: review(approvers, 1), author: Person::behind(author) }
    }

    fn approval(caller: &str, owner: &str) -> Approval {
        Approval {
            approver: Approver::parse(caller, &[]).expect("an approver"),
            person: Person::behind(caller).or(Person::behind(owner)),
        }
    }

    /// A request of `token:portal`, which `oidc:corp:olga` owns, for `bob` with the user `alice`.
    fn evidence(rows: Vec<ReviewRow>, approvals: &[(&str, &str)]) -> Evidence {
        let parties = ["token:portal", "oidc:corp:olga", "alice", "bob"].map(Person::behind);
        let parties = parties.into_iter().fold(Person::default(), Person::or);
        let approvals = approvals.iter().map(|(caller, owner)| approval(caller, owner)).collect();
        Evidence::recorded(rows, Lifetime::LEAST, parties, approvals)
    }

    fn by_root(approvers: &[&str], approvals: u32) -> ReviewRow {
        let versions = vec![version(1, None, approvers, "cli:root")];
        ReviewRow { row: review(approvers, approvals), versions }
    }

    fn given(evidence: &Evidence) -> Vec<u32> {
        evidence.standing().iter().map(|standing| standing.given).collect()
    }

    #[test]
    fn one_person_counts_once_whatever_he_comes_in_as() {
        let rows = || vec![by_root(&["token:*", "cli:dave"], 2)];
        let both = [("token:laptop", "oidc:corp:carol"), ("token:phone", "oidc:corp:carol")];
        assert_eq!(given(&evidence(rows(), &both)), [1]);
        let same_name = [("token:dave", "token:dave"), ("cli:dave", "cli:dave")];
        assert_eq!(given(&evidence(rows(), &same_name)), [1]);
        let two = [("token:carol", "token:carol"), ("token:dave", "token:dave")];
        assert!(evidence(rows(), &two).is_enough());
        let objection = evidence(rows(), &both[..1]).objection(&approval(both[1].0, both[1].1));
        assert_eq!(objection, Some(Objection::Already));
    }

    #[test]
    fn nobody_approves_his_own_request() {
        for (caller, owner) in [
            ("token:portal", "token:portal"),
            ("token:alice", "token:alice"),
            ("token:bob", "token:bob"),
            ("token:other", "oidc:corp:olga"),
            ("token:other", "oidc:corp:alice"),
            ("token:other", "oidc:corp:Bob"),
        ] {
            let own = evidence(vec![by_root(&["token:*"], 1)], &[(caller, owner)]);
            assert!(!own.is_enough(), "{caller} of {owner}");
            let objection = evidence(vec![by_root(&["token:*"], 1)], &[]).objection(&approval(caller, owner));
            assert_eq!(objection, Some(Objection::OwnRequest), "{caller} of {owner}");
        }
    }

    #[test]
    fn nobody_approves_under_a_row_that_he_wrote_since_it_names_him() {
        let carol = ("token:carol", "token:carol");
        let named = &["token:carol"][..];
        let enough = |versions: Vec<Version>| {
            evidence(vec![ReviewRow { row: review(named, 1), versions }], &[carol]).is_enough()
        };
        let other = &["token:dave"][..];
        assert!(enough(vec![version(3, None, named, "cli:root")]));
        assert!(!enough(vec![version(3, None, named, "token:carol")]));
        assert!(!enough(vec![version(3, None, named, "cli:carol")]));
        let touched =
            |author| vec![version(5, None, named, author), version(3, Some(5), named, "token:carol")];
        assert!(!enough(touched("cli:root")), "she made herself an approver, and somebody edited the row");
        let of_others = vec![version(5, None, named, "cli:root"), version(3, Some(5), other, "token:carol")];
        assert!(enough(of_others), "she wrote a version that names others");
        let removed = vec![version(7, None, named, "cli:root"), version(3, Some(5), named, "token:carol")];
        assert!(enough(removed), "the row was gone in between, and somebody else brought it back");
        assert!(!enough(Vec::new()), "of which nobody knows who wrote it");
        assert!(!enough(vec![version(3, Some(5), named, "cli:root")]), "which is not in force");
    }

    #[test]
    fn each_row_wants_its_own_approvals() {
        let rows =
            || vec![by_root(&["token:carol", "token:erin"], 1), by_root(&["token:dave", "token:erin"], 1)];
        assert_eq!(given(&evidence(rows(), &[("token:carol", "token:carol")])), [1, 0]);
        let both = [("token:carol", "token:carol"), ("token:dave", "token:dave")];
        assert!(evidence(rows(), &both).is_enough());
        assert!(evidence(rows(), &[("token:erin", "token:erin")]).is_enough(), "whom both rows name");
    }

    #[test]
    fn who_is_not_named_is_not_counted() {
        let of_carol = evidence(vec![by_root(&["token:carol"], 1)], &[("token:dave", "token:dave")]);
        assert_eq!(given(&of_carol), [0]);
        let dave = approval("token:dave", "token:dave");
        assert_eq!(of_carol.objection(&dave), Some(Objection::NotNamed));
        assert!(!of_carol.concerns(&dave.approver));
        assert_eq!(of_carol.objection(&approval("token:carol", "token:carol")), None);
        assert!(!evidence(Vec::new(), &[]).is_enough(), "without a row nothing was reviewed");
        assert_eq!(of_carol.standing()[0].policy, short("review"));
    }
}

//! The rows by which a filter finds a record of a group or of a policy.

use super::Inspected;
use crate::store::cells::Cells;
use crate::store::statement::Statement;
use crate::store::{Store, StoreError};

/// Which members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberTable {
    /// `certificate_groups`.
    CertificateGroups,
    /// `certificate_policies`.
    CertificatePolicies,
    /// `refusal_groups`.
    RefusalGroups,
    /// `refusal_policies`.
    RefusalPolicies,
}

/// A row of a member table, and the list of its record.
#[derive(Clone, Debug)]
pub struct StoredMember {
    /// The number of the name.
    pub name_id: i64,
    /// The name; none if it is not there.
    pub name: Option<String>,
    /// The serial of its certificate.
    pub serial: Option<Vec<u8>>,
    /// What the record lists; none if there is no such record.
    pub listed: Option<Vec<String>>,
}

impl MemberTable {
    /// All four.
    pub const ALL: [Self; 4] =
        [Self::CertificateGroups, Self::CertificatePolicies, Self::RefusalGroups, Self::RefusalPolicies];

    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificateGroups => "certificate_groups",
            Self::CertificatePolicies => "certificate_policies",
            Self::RefusalGroups => "refusal_groups",
            Self::RefusalPolicies => "refusal_policies",
        }
    }

    fn select(self) -> &'static str {
        match self {
            Self::CertificateGroups => {
                "SELECT m.name_id, m.number, n.name, r.serial, l.names FROM certificate_groups m \
                 LEFT JOIN names n ON n.id = m.name_id LEFT JOIN certificates r ON r.number = m.number \
                 LEFT JOIN name_lists l ON l.id = r.groups_id WHERE (m.name_id, m.number) > ("
            }
            Self::CertificatePolicies => {
                "SELECT m.name_id, m.number, n.name, r.serial, l.names FROM certificate_policies m \
                 LEFT JOIN names n ON n.id = m.name_id LEFT JOIN certificates r ON r.number = m.number \
                 LEFT JOIN name_lists l ON l.id = r.policies_id WHERE (m.name_id, m.number) > ("
            }
            Self::RefusalGroups => {
                "SELECT m.name_id, m.number, n.name, l.names FROM refusal_groups m \
                 LEFT JOIN names n ON n.id = m.name_id LEFT JOIN refusals r ON r.number = m.number \
                 LEFT JOIN name_lists l ON l.id = r.groups_id WHERE (m.name_id, m.number) > ("
            }
            Self::RefusalPolicies => {
                "SELECT m.name_id, m.number, n.name, l.names FROM refusal_policies m \
                 LEFT JOIN names n ON n.id = m.name_id LEFT JOIN refusals r ON r.number = m.number \
                 LEFT JOIN name_lists l ON l.id = r.policies_id WHERE (m.name_id, m.number) > ("
            }
        }
    }

    fn has_serial(self) -> bool {
        matches!(self, Self::CertificateGroups | Self::CertificatePolicies)
    }
}

impl Store {
    /// The next rows of `table` after the pair of name and number `after`, for records up to
    /// `until`, in the order of their key.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn inspect_members(
        &self,
        table: MemberTable,
        after: (i64, i64),
        until: i64,
        limit: u32,
    ) -> Result<Vec<Inspected<StoredMember>>, StoreError> {
        let mut select = Statement::new(table.select());
        select.bind(after.0).push(", ").bind(after.1).push(") AND m.number <= ").bind(until);
        select.push(" ORDER BY m.name_id, m.number LIMIT ").bind(limit);
        let rows = select.all(&self.connections().readers).await?;
        rows.iter()
            .map(|row| {
                let cells = Cells::new(row, table.as_str(), "number");
                let member = StoredMember {
                    name_id: cells.integer("name_id")?,
                    name: cells.optional_text("name")?,
                    serial: if table.has_serial() { cells.optional_blob("serial")? } else { None },
                    listed: cells.optional_json("names")?,
                };
                Ok(Inspected { number: row.try_get("number")?, row: Ok(member) })
            })
            .collect()
    }
}

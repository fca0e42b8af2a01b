//! Reads the cells of a row. One that this program did not write names itself: table, row, column.

use super::StoreError;
use super::row::{Readable, Row};
use crate::time::{Lifetime, Time};
use serde::de::DeserializeOwned;

/// A row under the name of its table.
#[derive(Clone, Copy)]
pub(super) struct Cells<'r> {
    row: &'r Row,
    table: &'static str,
    /// The column that tells rows of this table apart.
    key: &'static str,
}

impl<'r> Cells<'r> {
    pub(super) fn new(row: &'r Row, table: &'static str, key: &'static str) -> Self {
        Self { row, table, key }
    }

    pub(super) fn integer(&self, column: &'static str) -> Result<i64, StoreError> {
        self.cell(column)
    }

    pub(super) fn optional_integer(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        self.cell(column)
    }

    pub(super) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.cell(column)
    }

    pub(super) fn optional_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.cell(column)
    }

    pub(super) fn blob(&self, column: &'static str) -> Result<Vec<u8>, StoreError> {
        Ok(self.cell::<&[u8]>(column)?.to_vec())
    }

    pub(super) fn optional_blob(&self, column: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.cell::<Option<&[u8]>>(column)?.map(<[u8]>::to_vec))
    }

    pub(super) fn octets<const N: usize>(&self, column: &'static str) -> Result<[u8; N], StoreError> {
        self.sized(column, self.cell(column)?)
    }

    pub(super) fn optional_octets<const N: usize>(
        &self,
        column: &'static str,
    ) -> Result<Option<[u8; N]>, StoreError> {
        let blob: Option<&[u8]> = self.cell(column)?;
        blob.map(|blob| self.sized(column, blob)).transpose()
    }

    pub(super) fn time(&self, column: &'static str) -> Result<Time, StoreError> {
        self.integer(column).map(Time::from_unix)
    }

    pub(super) fn optional_time(&self, column: &'static str) -> Result<Option<Time>, StoreError> {
        Ok(self.optional_integer(column)?.map(Time::from_unix))
    }

    pub(super) fn optional_lifetime(&self, column: &'static str) -> Result<Option<Lifetime>, StoreError> {
        self.optional_integer(column)?
            .map(|seconds| u32::try_from(seconds).map(Lifetime::from_seconds))
            .transpose()
            .map_err(|_| self.wrong(column, "is no number of seconds"))
    }

    pub(super) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        serde_json::from_str(self.cell(column)?).map_err(|error| self.wrong(column, &error.to_string()))
    }

    pub(super) fn optional_json<T: DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        self.cell::<Option<&str>>(column)?
            .map(|text| serde_json::from_str(text).map_err(|error| self.wrong(column, &error.to_string())))
            .transpose()
    }

    /// The error for a cell that cannot be read.
    pub(super) fn wrong(&self, column: &'static str, why: &str) -> StoreError {
        StoreError::Corrupt(format!("{}, {} {}, {column}: {why}", self.table, self.key, self.own_key()))
    }

    fn cell<T: Readable<'r>>(&self, column: &'static str) -> Result<T, StoreError> {
        self.row.try_get(column).map_err(|error| self.wrong(column, &error.to_string()))
    }

    fn sized<const N: usize>(&self, column: &'static str, blob: &[u8]) -> Result<[u8; N], StoreError> {
        blob.try_into()
            .map_err(|_| self.wrong(column, &format!("has {} octets and should have {N}", blob.len())))
    }

    fn own_key(&self) -> String {
        let as_integer = self.row.try_get::<i64>(self.key).map(|number| number.to_string());
        as_integer.or_else(|_| self.row.try_get::<String>(self.key)).unwrap_or_else(|_| "?".to_owned())
    }
}

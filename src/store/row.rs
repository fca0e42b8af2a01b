//! A row as a database gave it, on either engine, and the kinds of values that are read from one.

use std::ops::Range;
use std::sync::Arc;

use sqlx::any::AnyRow;
use sqlx::{Any, Decode, Error, Row as _, Type};

/// A row of an answer.
pub(super) enum Row {
    /// Of a file of SQLite.
    File(FileRow),
    /// Of a server of PostgreSQL.
    Server(AnyRow),
}

/// A row of SQLite: all its octets in one piece, and where each cell lies in them.
#[derive(Debug)]
pub(super) struct FileRow {
    columns: Arc<[Box<str>]>,
    cells: Vec<Place>,
    octets: Vec<u8>,
}

/// Where a cell is.
#[derive(Clone, Debug)]
enum Place {
    Null,
    Integer(i64),
    Text(Range<usize>),
    Blob(Range<usize>),
}

/// A cell of SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell<'r> {
    Null,
    Integer(i64),
    Text(&'r str),
    Blob(&'r [u8]),
}

impl Row {
    /// The value in a column.
    ///
    /// # Errors
    /// `ColumnNotFound`, `ColumnDecode` where it is of another kind.
    pub(super) fn try_get<'r, T: Readable<'r>>(&'r self, column: &'static str) -> Result<T, Error> {
        match self {
            Self::Server(row) => row.try_get(column),
            Self::File(row) => {
                let place = row.columns.iter().position(|name| **name == *column);
                let place = place.ok_or_else(|| Error::ColumnNotFound(column.to_owned()))?;
                row.read(place, column)
            }
        }
    }

    /// The value in the column at `place`, counted from 0.
    ///
    /// # Errors
    /// As [`Row::try_get`].
    pub(super) fn at<'r, T: Readable<'r>>(&'r self, place: usize) -> Result<T, Error> {
        match self {
            Self::Server(row) => row.try_get(place),
            Self::File(row) => row.read(place, "?"),
        }
    }
}

impl FileRow {
    /// A row without cells yet.
    pub(super) fn new(columns: Arc<[Box<str>]>) -> Self {
        let cells = Vec::with_capacity(columns.len());
        Self { columns, cells, octets: Vec::new() }
    }

    /// Adds the next cell.
    pub(super) fn push(&mut self, cell: Cell<'_>) {
        let place = match cell {
            Cell::Null => Place::Null,
            Cell::Integer(number) => Place::Integer(number),
            Cell::Text(text) => Place::Text(self.keep(text.as_bytes())),
            Cell::Blob(octets) => Place::Blob(self.keep(octets)),
        };
        self.cells.push(place);
    }

    fn keep(&mut self, octets: &[u8]) -> Range<usize> {
        let begin = self.octets.len();
        self.octets.extend_from_slice(octets);
        begin..self.octets.len()
    }

    fn read<'r, T: Readable<'r>>(&'r self, place: usize, column: &str) -> Result<T, Error> {
        let cell = self.cell(place).ok_or_else(|| Error::ColumnNotFound(column.to_owned()))?;
        T::of_cell(cell).ok_or_else(|| Error::ColumnDecode {
            index: column.to_owned(),
            source: format!("is {}", cell.kind()).into(),
        })
    }

    fn cell(&self, place: usize) -> Option<Cell<'_>> {
        Some(match self.cells.get(place)? {
            Place::Null => Cell::Null,
            Place::Integer(number) => Cell::Integer(*number),
            // Written as text, so it still is.
            Place::Text(range) => Cell::Text(str::from_utf8(self.octets.get(range.clone())?).ok()?),
            Place::Blob(range) => Cell::Blob(self.octets.get(range.clone())?),
        })
    }
}

impl Cell<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Integer(_) => "an integer",
            Self::Text(_) => "text",
            Self::Blob(_) => "a blob",
        }
    }
}

/// What can be read out of a cell.
pub(super) trait Readable<'r>: Decode<'r, Any> + Type<Any> {
    /// None where the cell is of another kind.
    fn of_cell(cell: Cell<'r>) -> Option<Self>;
}

impl Readable<'_> for i64 {
    fn of_cell(cell: Cell<'_>) -> Option<Self> {
        if let Cell::Integer(number) = cell { Some(number) } else { None }
    }
}

impl<'r> Readable<'r> for &'r str {
    fn of_cell(cell: Cell<'r>) -> Option<Self> {
        if let Cell::Text(text) = cell { Some(text) } else { None }
    }
}

impl Readable<'_> for String {
    fn of_cell(cell: Cell<'_>) -> Option<Self> {
        <&str>::of_cell(cell).map(str::to_owned)
    }
}

impl<'r> Readable<'r> for &'r [u8] {
    fn of_cell(cell: Cell<'r>) -> Option<Self> {
        if let Cell::Blob(octets) = cell { Some(octets) } else { None }
    }
}

impl<'r, T: Readable<'r>> Readable<'r> for Option<T>
where
    Self: Decode<'r, Any> + Type<Any>,
{
    fn of_cell(cell: Cell<'r>) -> Option<Self> {
        if cell == Cell::Null { Some(None) } else { T::of_cell(cell).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let mut row = FileRow::new(["a", "b", "c", "d"].map(Into::into).into());
        for cell in [Cell::Integer(7), Cell::Text("é"), Cell::Blob(&[1, 2]), Cell::Null] {
            row.push(cell);
        }
        Row::File(row)
    }

    #[test]
    fn a_cell_is_read_as_what_it_is() {
        let row = row();
        assert_eq!(row.try_get::<i64>("a").unwrap(), 7);
        assert_eq!(row.try_get::<&str>("b").unwrap(), "é");
        assert_eq!(row.at::<&[u8]>(2).unwrap(), [1, 2]);
        assert_eq!(row.try_get::<Option<i64>>("a").unwrap(), Some(7));
        assert_eq!(row.try_get::<Option<String>>("d").unwrap(), None);
    }

    #[test]
    fn a_cell_of_another_kind_is_an_error_that_says_so() {
        let row = row();
        let error = row.try_get::<i64>("b").unwrap_err();
        assert!(
            matches!(&error, Error::ColumnDecode { .. }) && error.to_string().contains("is text"),
            "{error}"
        );
        assert!(row.try_get::<String>("d").unwrap_err().to_string().contains("NULL"));
        assert!(matches!(row.try_get::<i64>("e"), Err(Error::ColumnNotFound(_))));
        assert!(matches!(row.at::<i64>(4), Err(Error::ColumnNotFound(_))));
    }
}

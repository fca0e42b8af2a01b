"""The database file, read beside the server by another program."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One row of `certificates`."""

    number: int
    serial: bytes
    der: bytes


def certificates(database: Path) -> list[Row]:
    """Every issued certificate, in the order of its number."""
    with _reader(database) as connection:
        found = connection.execute("SELECT number, serial, der FROM certificates ORDER BY number")
        return [Row(*row) for row in found]


def count(database: Path, table: str) -> int:
    with _reader(database) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def integrity(database: Path) -> str:
    """`ok`, or what is wrong."""
    with _reader(database) as connection:
        found = connection.execute("PRAGMA integrity_check").fetchall()
        found += connection.execute("PRAGMA foreign_key_check").fetchall()
        return "; ".join(str(row[0]) for row in found)


@contextmanager
def every_insert_fails(database: Path, table: str) -> Iterator[None]:
    """While this lasts, the database refuses each new row of `table`."""
    change(database, f"CREATE TRIGGER e2e_broken BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END")
    try:
        yield
    finally:
        change(database, "DROP TRIGGER e2e_broken")


def change(database: Path, statement: str) -> None:
    with _writer(database) as connection:
        connection.execute(statement)


def bytes_on_disk(database: Path) -> bytes:
    """Everything that is in the database's files, the write-ahead log too."""
    files = [database, *(database.with_name(database.name + end) for end in ("-wal", "-shm"))]
    return b"".join(path.read_bytes() for path in files if path.exists())


def _reader(database: Path):
    return closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10))


@contextmanager
def _writer(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as connection:
        # Checkpoints are left to the server.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        yield connection

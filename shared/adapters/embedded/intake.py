"""Files of the spool, brought into DuckDB: each once, however often a process is killed.

The transaction that brings a file's rows notes its name; the file is removed after it. What is noted and still
there was taken before a crash. Rows come in pieces of many files: DuckDB then compresses whole row groups at once,
and writes them once, rather than to its log first and again at every checkpoint.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import duckdb

from flockiq.shared.adapters.embedded.duckdbfile import passing
from flockiq.shared.adapters.embedded.insertion import Insertion, Prepared
from flockiq.shared.adapters.embedded.spool import Given, Spool, Waiting
from flockiq.shared.errors import BadRecord, NotFound, StateCorrupt
from flockiq.shared.tabular import ndjson

TAKEN_BYTES = 16_000_000  # of files in one transaction, unless one file alone is larger: about 70,000 records'
STATEMENT_BYTES = 4_000_000  # of files whose rows are unpacked at a time

log = logging.getLogger("flockiq.history")

type Rows = tuple[str, Prepared]


class _File(NamedTuple):
    """A file and the rows that it holds."""

    name: str
    rows: Sequence[Given]


class Intake:
    """Brings what waits into an open DuckDB. duckdb.Error and OSError are of what another try may mend."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, insertion: Insertion, spool: Spool) -> None:
        self._connection = connection
        self._insertion = insertion
        self._spool = spool
        connection.execute("CREATE SCHEMA IF NOT EXISTS spool")
        connection.execute("CREATE TABLE IF NOT EXISTS spool.taken (name VARCHAR)")
        self._noted = {str(name) for (name,) in connection.execute("SELECT name FROM spool.taken").fetchall()}
        spool.sweep()

    def take(self, until: str) -> bool:
        """Take in the oldest files up to the one named ``until``, TAKEN_BYTES of them; whether there were any."""
        waiting = [one for one in self._spool.waiting() if one.name <= until]
        self._spool.forget([one.name for one in waiting if one.name in self._noted])
        some = list(_first([one for one in waiting if one.name not in self._noted]))
        if not some:
            return False
        try:
            self._bring([[one.name for one in piece] for piece in _pieces(some)])
        except duckdb.Error as error:
            if passing(error):
                raise
            for one in some:  # somebody's rows are at fault: let each file stand for itself
                self._bring_apart(one.name)
        return True

    def _bring(self, pieces: Sequence[Sequence[str]]) -> None:
        """Bring files in one transaction."""
        names = [name for piece in pieces for name in piece]
        with self._transaction():
            for piece in pieces:
                files = [one for name in piece if (one := self._read(name)) is not None]
                rows = [self._prepared(given) for one in files for given in one.rows]
                self._insertion.write(self._connection, [one for one in rows if one is not None])
            self._note(names)
        self._taken(names)

    def _bring_apart(self, name: str) -> None:
        """Bring what DuckDB takes of one file."""
        file = self._read(name)
        rows = [one for given in (file.rows if file else ()) if (one := self._accepted(given)) is not None]
        with self._transaction():
            self._insertion.write(self._connection, rows)
            self._note([name])
        self._taken([name])

    def _note(self, names: Sequence[str]) -> None:
        """Note what this transaction brings; what was noted before is no longer in the folder."""
        self._connection.execute("DELETE FROM spool.taken")
        self._connection.execute("INSERT INTO spool.taken SELECT unnest(?::VARCHAR[])", [list(names)])

    def _taken(self, names: Sequence[str]) -> None:
        self._noted = set(names)
        self._spool.forget(names)

    def _read(self, name: str) -> _File | None:
        try:
            return _File(name, self._spool.read(name))
        except StateCorrupt:
            log.exception("rows are lost to the history")
            self._spool.set_aside(name)
            return None

    def _prepared(self, given: Given) -> Rows | None:
        """Rows ready to be written; None for what they can't be written to."""
        prepare = self._insertion.columns if given.columns else self._insertion.lines
        try:
            return given.table, prepare(given.table, given.rows)
        except (BadRecord, NotFound):  # they looked well to whoever left them
            log.exception("rows of table %s are refused by the history, and lost to it", given.table)
            return None

    def _accepted(self, given: Given) -> Rows | None:
        """Rows that DuckDB takes, or None: columns it refuses go the way of JSON, where what it can't read is null."""
        ways, refused = [given], ""
        if given.columns:
            with contextlib.suppress(BadRecord, NotFound):
                self._insertion.named(given.table, given.rows)
                ways.append(Given(given.table, columns=False, rows=ndjson(given.rows)))
        for way in ways:
            rows = self._prepared(way)
            if rows is None:
                return None
            try:
                with self._transaction(keep=False):
                    self._insertion.write(self._connection, [rows])
            except duckdb.Error as error:
                if passing(error):
                    raise
                refused = str(error)
            else:
                return rows
        log.error("rows of table %s are refused by the history, and lost to it: %s", given.table, refused)
        return None

    @contextlib.contextmanager
    def _transaction(self, *, keep: bool = True) -> Iterator[None]:
        self._connection.execute("BEGIN")
        try:
            yield
            self._connection.execute("COMMIT" if keep else "ROLLBACK")
        except BaseException:
            with contextlib.suppress(duckdb.Error):  # a failed commit has ended the transaction already
                self._connection.execute("ROLLBACK")
            raise


def _first(waiting: Sequence[Waiting]) -> Iterator[Waiting]:
    size = 0
    for one in waiting:
        size += one.size
        if size > TAKEN_BYTES and size > one.size:
            return
        yield one


def _pieces(some: Sequence[Waiting]) -> Iterator[list[Waiting]]:
    """Files that are unpacked together."""
    piece: list[Waiting] = []
    for one in some:
        if piece and sum(other.size for other in piece) + one.size > STATEMENT_BYTES:
            yield piece
            piece = []
        piece.append(one)
    if piece:
        yield piece

"""Rows of an Eventhouse table as columns, in Arrow: what a batch tells the history, made and stored a column at a time.

A dynamic value is its JSON text in a column marked so. ``ndjson`` says the same rows as the lines that
any ``Analytics`` takes; one that takes columns themselves is a ``TakesColumns``.
"""

from __future__ import annotations

import io
from collections.abc import Buffer, Sequence
from typing import Protocol, runtime_checkable

import arro3.core as arrow
import msgspec
import numpy as np
import numpy.typing as npt
import zstandard
from arro3.io import read_ipc_stream

from flockiq.shared.arrowstream import DYNAMIC, Column, Kind, Texts, written
from flockiq.shared.instants import rfc3339
from flockiq.shared.lanes import NULL, Bools, Floats, Int64s
from flockiq.shared.pool import Rows, rows_of

_INSTANT = arrow.DataType.timestamp("us")
_LONGEST = (1 << 31) - 1  # bytes of texts that 32 bits can tell the places of
_COMPRESSED = zstandard.FRAME_HEADER
_SCHEMA = 1 << 16  # bytes at the beginning of a stream, which hold its schema: some fifty for each column
_encode = msgspec.json.Encoder().encode_lines


@runtime_checkable
class TakesColumns(Protocol):
    """An ``Analytics`` that takes columns as they are; to others their rows are given as NDJSON."""

    async def ingest_columns(self, table: str, columns: bytes) -> None:
        """Append rows of one table, as ``Analytics.ingest`` does."""
        ...


class Columns:
    """The columns of one table's rows, put together in the table's order."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.columns: list[Column] = []

    def texts(self, name: str, texts: Sequence[str], which: Int64s | None = None) -> None:
        """Texts; or of ``texts`` the ones at int64 [n] ``which``, for a column with few distinct ones."""
        if which is None:
            self.written(name, rows_of(texts))
        else:
            self.picked(name, rows_of(texts), which)

    def text(self, name: str, text: str) -> None:
        """One text in every row."""
        self.picked(name, rows_of([text]), np.zeros(self.n, np.int32))

    def picked(self, name: str, rows: Rows, which: npt.NDArray[np.integer]) -> None:
        """The same of texts that have been put together."""
        dictionary = Texts(len(rows.ends), _offsets(rows, np.int32), rows.utf8)
        self.columns.append(
            Column(name, "shared text", (b"", which.astype(np.int32, copy=False)), dictionary=dictionary)
        )

    def dynamic(self, name: str, texts: Sequence[str] | Sequence[bytes]) -> None:
        """Values as their JSON texts."""
        self.written(name, rows_of(texts), dynamic=True)

    def written(self, name: str, rows: Rows, *, dynamic: bool = False) -> None:
        """Texts that have been put together; ``dynamic``: of JSON."""
        if len(rows.utf8) <= _LONGEST:
            self._put(name, "dynamic" if dynamic else "text", _offsets(rows, np.int32), rows.utf8)
        else:
            self._put(name, "large dynamic" if dynamic else "large text", _offsets(rows, np.int64), rows.utf8)

    def instants(self, name: str, us: Int64s) -> None:
        """Instants, from int64 [n] microseconds since the epoch; a NULL is null."""
        self._some(name, "instant", us, us == NULL)

    def numbers(self, name: str, values: Int64s | Floats | npt.NDArray[np.bool_]) -> None:
        """Numbers or booleans; a NaN is null."""
        if values.dtype == np.bool_:
            self._put(name, "boolean", np.packbits(values.astype(np.bool_), bitorder="little"))
        elif values.dtype == np.float64:
            self._some(name, "float", values.astype(np.float64, copy=False), np.isnan(values))
        else:
            self._put(name, "integer", np.ascontiguousarray(values))

    def _some(self, name: str, kind: Kind, values: Int64s | Floats, missing: Bools) -> None:
        nulls = int(missing.sum())
        there = np.packbits(~missing, bitorder="little") if nulls else b""
        self.columns.append(Column(name, kind, (there, np.ascontiguousarray(values)), nulls))

    def _put(self, name: str, kind: Kind, *buffers: Buffer) -> None:
        self.columns.append(Column(name, kind, (b"", *buffers)))


def _offsets(rows: Rows, size: type[np.int32 | np.int64]) -> Buffer:
    """Where each text begins, and the last one ends."""
    offsets = np.zeros(len(rows.ends) + 1, size)
    offsets[1:] = rows.ends
    return offsets


def packed(parts: Sequence[Columns]) -> bytes:
    """Rows of one table, put together in parts, to be kept and sent as they are: a compressed Arrow IPC stream."""
    return zstandard.ZstdCompressor(level=1).compress(written([(part.n, part.columns) for part in parts]))


def unpacked(columns: bytes) -> arrow.Table:
    """The rows that ``packed`` gave, or that an earlier FlockIQ left without compressing them."""
    plain = zstandard.ZstdDecompressor().decompress(columns) if columns.startswith(_COMPRESSED) else columns
    return arrow.Table.from_arrow(read_ipc_stream(io.BytesIO(plain)))


def names(columns: bytes) -> Sequence[str]:
    """The names of the columns that ``packed`` gave, without reading the rows."""
    start = columns
    if columns.startswith(_COMPRESSED):
        start = zstandard.ZstdDecompressor().stream_reader(columns).read(_SCHEMA)
    return list(read_ipc_stream(io.BytesIO(start)).schema.names)


def ndjson(columns: bytes) -> bytes:
    """The same rows as lines of JSON."""
    table = unpacked(columns)
    names = table.column_names
    rows = zip(*map(_said, names, [table] * len(names)), strict=True)
    return _encode([dict(zip(names, row, strict=True)) for row in rows]).rstrip(b"\n")


def _said(name: str, table: arrow.Table) -> list[object]:
    """A column's values as JSON has them."""
    column = table.column(name)
    if column.type == _INSTANT:
        instants = list(column.cast(arrow.DataType.int64()).to_pylist())
        return [None if us is None else rfc3339(us) for us in instants]
    values = list(column.to_pylist())
    if (table.schema.field(name).metadata_str or {}).get("kql") == DYNAMIC["kql"]:
        return [msgspec.Raw(str(text).encode()) for text in values]
    return values

"""Rows of an Eventhouse table as columns, in Arrow: what a batch tells the history, made and stored a column at a time.

A dynamic value is its JSON text in a column marked so. ``ndjson`` says the same rows as the lines that
any ``Analytics`` takes; one that takes columns themselves is a ``TakesColumns``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import arro3.core as arrow
import msgspec
import nanoarrow as buffers
import numpy as np
import numpy.typing as npt
import zstandard
from arro3.io import read_ipc_stream, write_ipc_stream

from flockiq.shared.instants import rfc3339
from flockiq.shared.lanes import Floats, Int64s
from flockiq.shared.pool import Bytes, Rows, rows_of

DYNAMIC = {"kql": "dynamic"}
"""Metadata of a column whose texts are JSON."""

_TEXT = arrow.DataType.utf8()
_NAMED = arrow.DataType.dictionary(arrow.DataType.int32(), _TEXT)
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
        self._n = n
        self._arrays: list[arrow.Array] = []
        self._fields: list[arrow.Field] = []

    def texts(self, name: str, texts: Sequence[str], which: Int64s | None = None) -> None:
        """Texts; or of ``texts`` the ones at int64 [n] ``which``, for a column with few distinct ones."""
        self._put(name, _texts(*rows_of(texts)) if which is None else _named(texts, which))

    def text(self, name: str, text: str) -> None:
        """One text in every row."""
        self._put(name, _named([text], np.zeros(self._n, np.int64)))

    def dynamic(self, name: str, texts: Sequence[str] | Sequence[bytes]) -> None:
        """Values as their JSON texts."""
        self._put(name, _texts(*rows_of(texts)), DYNAMIC)

    def written(self, name: str, rows: Rows, *, dynamic: bool = False) -> None:
        """Texts that have been put together; ``dynamic``: of JSON."""
        self._put(name, _texts(*rows), DYNAMIC if dynamic else None)

    def instants(self, name: str, us: Int64s) -> None:
        """Instants, from int64 [n] microseconds since the epoch."""
        self._put(name, arrow.Array.from_numpy(np.ascontiguousarray(us)).cast(_INSTANT))

    def numbers(self, name: str, values: Int64s | Floats | npt.NDArray[np.bool_]) -> None:
        """Numbers or booleans; a NaN is null."""
        given = np.ascontiguousarray(values)
        missing = np.isnan(given) if given.dtype == np.float64 else np.zeros(0, np.bool_)
        if missing.any():
            there = np.packbits(~missing, bitorder="little")
            self._put(name, _made(buffers.float64(), len(given), there, given, nulls=int(missing.sum())))
        else:
            self._put(name, arrow.Array.from_numpy(given))

    def table(self) -> arrow.Table:
        """The rows."""
        return arrow.Table.from_arrays(self._arrays, schema=arrow.Schema(self._fields))

    def _put(self, name: str, array: arrow.Array, metadata: dict[str, str] | None = None) -> None:
        self._arrays.append(array)
        self._fields.append(arrow.Field(name, array.type, nullable=True, metadata=metadata))


def _texts(utf8: Bytes, ends: Int64s) -> arrow.Array:
    if not len(ends) or ends[-1] <= _LONGEST:
        return _made(buffers.string(), len(ends), None, np.r_[0, ends].astype(np.int32), utf8)
    return _made(buffers.large_string(), len(ends), None, np.r_[0, ends], utf8)


def _named(texts: Sequence[str], which: Int64s) -> arrow.Array:
    """Texts that rows share, each kept once."""
    return _texts(*rows_of(texts)).cast(_NAMED).take(arrow.Array.from_numpy(np.ascontiguousarray(which)))


def _made(kind: buffers.Schema, n: int, *parts: object, nulls: int = 0) -> arrow.Array:
    """An array of Arrow's own buffers, as they are."""
    return arrow.Array.from_arrow(buffers.c_array_from_buffers(kind, n, parts, null_count=nulls))


def packed(parts: Sequence[Columns]) -> bytes:
    """Rows of one table, put together in parts, to be kept and sent as they are: a compressed Arrow IPC stream."""
    tables = [part.table() for part in parts]
    whole = arrow.Table.from_batches([batch for table in tables for batch in table.to_batches()])
    body = io.BytesIO()
    write_ipc_stream(whole, body, compression=None)
    return zstandard.ZstdCompressor(level=1).compress(body.getbuffer())


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
        return [rfc3339(us) for us in instants]
    values = list(column.to_pylist())
    if (table.schema.field(name).metadata_str or {}).get("kql") == DYNAMIC["kql"]:
        return [msgspec.Raw(str(text).encode()) for text in values]
    return values

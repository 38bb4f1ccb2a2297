"""Arrow's IPC stream, written from the buffers of columns as they are.

After https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc. The schema
is written by arro3, once for each shape of rows; what follows differs in nothing but numbers, and is put together
here: the objects that a library would make of every column take longer than a small batch itself.
"""

from __future__ import annotations

import io
from collections.abc import Buffer, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from struct import pack
from typing import Final, Literal, NamedTuple

import arro3.core as arrow
from arro3.io import write_ipc_stream

Kind = Literal[
    "text", "large text", "shared text", "dynamic", "large dynamic", "instant", "integer", "float", "boolean"
]
"""What a column holds. Texts: int32 offsets [n + 1] (int64, if large) and UTF-8; shared ones: int32 [n] places in a
dictionary of texts; instants: int64 µs; booleans: a bit each."""

DYNAMIC: Final = {"kql": "dynamic"}
"""Metadata of a column whose texts are JSON."""

_TEXT, _LARGE = arrow.DataType.utf8(), arrow.DataType.large_utf8()
_TYPES: Mapping[Kind, arrow.DataType] = {
    "text": _TEXT,
    "large text": _LARGE,
    "shared text": arrow.DataType.dictionary(arrow.DataType.int32(), _TEXT),
    "dynamic": _TEXT,
    "large dynamic": _LARGE,
    "instant": arrow.DataType.timestamp("us"),
    "integer": arrow.DataType.int64(),
    "float": arrow.DataType.float64(),
    "boolean": arrow.DataType.bool(),
}
_PREFIX = b"\xff\xff\xff\xff"  # of every message, before its size
_END = _PREFIX + bytes(4)
_VERSION = 4  # of the metadata: V5, which Arrow has written since 1.0
_DICTIONARY, _BATCH = 2, 3  # kinds of messages
_ALIGNED = 8


class Texts(NamedTuple):
    """``n`` texts: their buffers are no validity, offsets and UTF-8."""

    n: int
    offsets: Buffer
    utf8: Buffer


class Column(NamedTuple):
    """A column: its buffers are which are there (empty where all are), then as its kind has them."""

    name: str
    kind: Kind
    buffers: Sequence[Buffer]
    nulls: int = 0
    dictionary: Texts | None = None


def written(parts: Sequence[tuple[int, Sequence[Column]]]) -> bytes:
    """A stream of at least one part, each with its number of rows; all have columns of the same names and kinds."""
    shapes = {tuple((column.name, column.kind) for column in columns) for _, columns in parts}
    (shape,) = shapes
    pieces: list[Buffer] = [_schema(shape)]
    for n, columns in parts:
        dictionaries = [column.dictionary for column in columns if column.dictionary is not None]
        for number, texts in enumerate(dictionaries):
            _put(pieces, texts.n, [(texts.n, 0)], [b"", texts.offsets, texts.utf8], number)
        buffers = list(chain.from_iterable(column.buffers for column in columns))
        _put(pieces, n, [(n, column.nulls) for column in columns], buffers)
    pieces.append(_END)
    return b"".join(pieces)


@lru_cache(maxsize=64)
def _schema(shape: tuple[tuple[str, Kind], ...]) -> bytes:
    """The first message of a stream."""
    fields = [
        arrow.Field(name, _TYPES[kind], nullable=True, metadata=DYNAMIC if kind.endswith("dynamic") else None)
        for name, kind in shape
    ]
    stream = io.BytesIO()
    write_ipc_stream(arrow.Table.from_batches([], schema=arrow.Schema(fields)), stream, compression=None)
    return stream.getvalue()[: -len(_END)]


def _put(
    pieces: list[Buffer],
    n: int,
    nodes: Sequence[tuple[int, int]],
    buffers: Sequence[Buffer],
    dictionary: int | None = None,
) -> None:
    """Add a message of ``n`` rows: metadata, then the buffers, each aligned. ``dictionary``: whose texts they are.

    nodes: rows and nulls by column. The metadata is a FlatBuffer (Message.fbs of Arrow), whose tables stand in the
    order of their reading, each behind its vtable: a word in it is where a field is, from its table on, or how far
    ahead of itself what it points to is.
    """
    body: list[Buffer] = []
    places: list[int] = []
    at = 0
    for buffer in buffers:
        size = memoryview(buffer).nbytes
        places += at, size
        body += buffer, bytes(-size % _ALIGNED)
        at += size + -size % _ALIGNED
    rows = [number for node in nodes for number in node]
    kind, to = (_BATCH, 16) if dictionary is None else (_DICTIONARY, 12)
    message = pack("<I6HiHBxqI", 16, 12, 20, 4, 6, 16, 8, 12, _VERSION, kind, at, to)
    which = b"" if dictionary is None else pack("<4HiqI", 8, 16, 4, 12, 8, dictionary, 16)
    batch = pack("<5H2xiIqII", 10, 20, 8, 4, 16, 12, 16, n, 12 + 8 * len(rows), len(nodes))
    numbers = pack(f"<{len(rows)}q4xI{len(places)}q", *rows, len(buffers), *places)
    metadata = message + which + batch + numbers
    pieces += _PREFIX, pack("<i", len(metadata)), metadata, *body

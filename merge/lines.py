"""Lines of hub ``resolved`` written as text: what an entity's or a stream's lines have in common is written once.

Their bytes are those that ``wire.encode`` gives (a test holds it).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np

from flockiq.merge.arrived import Arrived
from flockiq.merge.book import Addresses, Stream
from flockiq.merge.chain import Told
from flockiq.merge.compiled import Functions
from flockiq.merge.mapping import StreamPlan
from flockiq.merge.records import Records
from flockiq.merge.versions import halves_in_hex
from flockiq.shared import wire
from flockiq.shared.instants import rfc3339
from flockiq.shared.lanes import Bools, Int64s
from flockiq.shared.pool import Rows

_ROW = (1 << 32) - 1
_FORM = 500  # bytes that suffice for what a line says beside its texts

_encode = msgspec.json.Encoder().encode


class Said(NamedTuple):
    """What a line takes from the change it tells of."""

    key: str
    traceparent: str
    captured_us: int


class Plain(NamedTuple):
    """Rows of a stream whose entities are told just what they say: int64 [n], in order, and their versions."""

    stream: Stream
    arrived: Arrived
    row: Int64s
    version: Int64s


class Again(NamedTuple):
    """Lines of a stream that take the place of others, in order: int64 [n], the row that has them told, and of what.

    void: bool [n], the line should never have been told.
    """

    row: Int64s
    version: Int64s
    void: Bools


def one_line(tenant: str, plan: StreamPlan, said: Said, told: Told, *, revision: int = 0) -> bytes:
    """Any line; ``revision``: greater than of lines that it takes the place of."""
    place = told.place
    line = wire.RawResolved(
        id=told.id,
        source=plan.source,
        type=wire.RESOLVED,
        subject=f"{plan.entity}/{place.entity_id}",
        time=rfc3339(told.us),
        tenant=tenant,
        traceparent=said.traceparent,
        data=wire.ResolvedRaw(
            op=told.op,
            entity=plan.entity,
            entity_id=place.entity_id,
            match_key=place.match_key,
            group=place.group,
            stream=plan.stream,
            key=said.key,
            ts_us=told.us,
            run=told.rr >> 32,
            row=told.rr & _ROW,
            captured_us=said.captured_us,
            fields=msgspec.Raw(told.fields),
            rev=revision,
        ),
    )
    return _encode(line)


def joined(lines: Sequence[bytes]) -> Rows:
    """Lines one after the other, each with its newline."""
    ends = np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)) + 1)
    return Rows(np.frombuffer(b"\n".join([*lines, b""]), np.uint8), ends)


def written(records: Records, plain: Plain, functions: Functions | None) -> Iterator[tuple[int, Rows]]:
    """The lines for each partition, in order, each with its newline. Their ids are ours."""
    if not len(plain.row):
        return
    addresses = plain.stream.addresses()
    partition = addresses.partitions[records.versions.place[plain.version]]
    order = np.argsort(partition, kind="stable")
    ordered = plain._replace(row=plain.row[order], version=plain.version[order])
    text, ends = (
        joined(list(_lines(records, ordered, addresses)))
        if functions is None
        else _by_machine(records, ordered, addresses, functions)
    )
    partition = partition[order]
    bounds = np.r_[0, np.flatnonzero(np.diff(partition)) + 1, len(partition)]
    for first, last in pairwise(bounds.tolist()):
        begin = int(ends[first - 1]) if first else 0
        yield int(partition[first]), Rows(text[begin : int(ends[last - 1])], ends[first:last] - begin)


def rewritten(
    records: Records, stream: Stream, arrived: Arrived, again: Again, revision: Int64s, functions: Functions
) -> Iterator[tuple[int, bytes]]:
    """The line of each of ``again`` behind its partition, with its revision: int64 [n]. Their ids are ours."""
    addresses = stream.addresses()
    text, ends = _by_machine(
        records, Plain(stream, arrived, again.row, again.version), addresses, functions, (revision, again.void)
    )
    partitions = addresses.partitions[records.versions.place[again.version]].tolist()
    whole = text.data
    for partition, (begin, end) in zip(partitions, pairwise([0, *ends.tolist()]), strict=True):
        yield partition, bytes(whole[begin : end - 1])


_FIRST = np.zeros(0, np.int64), np.zeros(0, np.bool_)
"""Lines that are told for the first time."""


def _by_machine(
    records: Records, plain: Plain, addresses: Addresses, functions: Functions, again: tuple[Int64s, Bools] = _FIRST
) -> Rows:
    rows, versions, text = plain.arrived.rows, records.versions, plain.arrived.text
    place = versions.place[plain.version]
    size = _FORM + len(addresses.source) + len(addresses.tenant)
    sizes = versions.given_end[plain.version] - versions.given_begin[plain.version] + addresses.sizes[place]
    for begin, end in ((rows.key_begin, rows.key_end), (rows.trace_begin, rows.trace_end)):
        sizes += end[plain.row] - begin[plain.row]
    out = np.empty(int(sizes.sum()) + size * len(sizes), np.uint8)
    ends = np.empty(len(sizes), np.int64)
    functions.write_lines(plain.row, plain.version, *again, text, rows, versions, records.heap, addresses, out, ends)
    return Rows(out, ends)


def _lines(records: Records, plain: Plain, addresses: Addresses) -> Iterator[bytes]:
    rows, of = plain.arrived.rows, records.versions
    text: Any = plain.arrived.text.data  # a stretch of it is formatted as it is
    heap: Any = records.heap.data
    row, version = plain.row, plain.version
    us, rr = of.us[version], of.rr[version]
    times: Sequence[bytes] = (
        np.datetime_as_string(us.astype("datetime64[us]"), unit="us", timezone="UTC").astype("S").tolist()
    )
    ids = halves_in_hex(of.tie[version], of.rest[version])
    subjects, abouts = _addressed(of.place[version], addresses)
    source, tenant = addresses.source.tobytes(), addresses.tenant.tobytes()
    columns = (
        range(0, len(ids), 32),
        times,
        zip(rows.trace_begin[row].tolist(), rows.trace_end[row].tolist(), strict=True),
        subjects,
        of.op[version].tolist(),
        abouts,
        zip(rows.key_begin[row].tolist(), rows.key_end[row].tolist(), strict=True),
        zip(us.tolist(), (rr >> 32).tolist(), (rr & _ROW).tolist(), rows.captured_us[row].tolist(), strict=True),
        zip(of.given_begin[version].tolist(), of.given_end[version].tolist(), strict=True),
    )
    for at, time, (trace, traced), subject, op, about, (key, keyed), position, (given, gave) in zip(
        *columns, strict=True
    ):
        yield (
            b'{"specversion":"1.0","id":"%b%b%b"%b%b,"subject":%b,"data":{"op":"%c",%b,"key":"%b","ts_us":%d,"run":%d,"row":%d,"captured_us":%d,"fields":%b}}'
            % (
                ids[at : at + 32],
                source,
                time,
                tenant,
                b',"traceparent":"%b"' % text[trace:traced] if traced > trace else b"",
                subject,
                op,
                about,
                text[key:keyed],
                *position,
                heap[given:gave],
            )
        )


def _addressed(place: Int64s, addresses: Addresses) -> tuple[list[Any], list[Any]]:
    """What lines say of their entities: subjects, and what stands between op and key."""
    text: Any = addresses.utf8.data
    ends = addresses.ends[place]
    middles = addresses.middles[place].tolist()
    begins = (ends - addresses.sizes[place]).tolist()
    return (
        [text[a:b] for a, b in zip(begins, middles, strict=True)],
        [text[a:b] for a, b in zip(middles, ends.tolist(), strict=True)],
    )

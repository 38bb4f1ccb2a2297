"""The measured workload as packed events, made once per size and kept on disk.

The lines are what merge_changes sends to hub ``resolved`` (or what capture sends to hub
``changes``): the same structs, ids and keys, through the wire's own encoder and packer.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from flockiq.bench import history, values
from flockiq.bench.history import GONE, READ, Size, Story, story
from flockiq.bench.values import FIELDS
from flockiq.local.host.settings import read_host_json
from flockiq.pipeline.plans import plans
from flockiq.pipeline.world import Plan
from flockiq.shared import wire
from flockiq.shared.config.load import load
from flockiq.shared.config.model import Config
from flockiq.shared.instants import rfc3339
from flockiq.shared.positions import bucket, entity_id, hash_id, record_key
from flockiq.shared.settings import HUBS

ROOT = Path(__file__).parents[1]
CONFIG = Path(__file__).parent / "config"
CACHE = Path(__file__).parent / ".cache"
ENTITY, STREAM, TENANT = "account", "acc", "default"
SOURCES = ("crm", "erp")
CHUNK = 20_000  # events made at a time

Hub = Literal["resolved", "changes"]
_HEADER = 12  # bytes: length of the body, its lines, its partition


class Packed(NamedTuple):
    """One packed event: the partition it is for, how many lines it holds, its body."""

    partition: int
    lines: int
    body: bytes


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a workload turned out to be."""

    warm_lines: int
    lines: int
    line_bytes: float  # mean, of plain text
    body_bytes: float  # mean, packed, per line
    unchanged_share: float  # of distinct events: their edit changed no field
    duplicates: int
    out_of_order: int  # distinct events that come after a later one of their entity


class Workload(NamedTuple):
    """A workload on disk."""

    size: Size
    facts: Facts
    path: Path

    def warm(self) -> Iterator[Packed]:
        """What comes before the measured events."""
        return _read(self.path.with_suffix(".warm"))

    def timed(self) -> Iterator[Packed]:
        """The measured events, in the order they arrive."""
        return _read(self.path.with_suffix(".timed"))


@cache
def config() -> Config:
    """The measured config, as the app would load it."""
    return load(CONFIG, {})


def plan(rules: Sequence[str] = ()) -> Mapping[str, Plan]:
    """The plans of the measured config; given names of ``rules``, with those only and without drift."""
    whole = config()
    if not rules:
        return plans(whole)
    entity = dataclasses.replace(whole.entities[ENTITY], drift={})
    chosen = {name: whole.rules[name] for name in rules}
    return plans(dataclasses.replace(whole, entities={ENTITY: entity}, rules=chosen))


def batches(packed: Iterator[Packed], size: int = 0) -> Iterator[list[bytes]]:
    """Bodies as the host hands them to the function: host.json's batch, unless ``size`` is given."""
    most = size or read_host_json(ROOT).extensions.event_hubs.max_event_batch_size
    while some := [one.body for one in islice(packed, most)]:
        yield some


def workload(
    size: Size, hub: Hub = "resolved", cache_folder: Path = CACHE, partitions: int = HUBS["changes"]
) -> Workload:
    """The workload of ``size``, from disk if it was made before by the same code.

    ``partitions``: those of hub ``changes``; what is for ``resolved`` is of one.
    """
    path = cache_folder / f"{hub}{partitions}-{_fingerprint(size)}"
    facts = path.with_suffix(".json")
    if not facts.exists():
        cache_folder.mkdir(parents=True, exist_ok=True)
        made = _make(size, hub, partitions, path)
        scratch = facts.with_suffix(f".{os.getpid()}")
        scratch.write_bytes(msgspec.json.encode(made))
        scratch.rename(facts)
    return Workload(size, msgspec.json.decode(facts.read_bytes(), type=Facts), path)


def _fingerprint(size: Size) -> str:
    code = b"".join(Path(str(module.__file__)).read_bytes() for module in (wire, values, history))
    return hashlib.sha256(repr(size).encode() + code + Path(__file__).read_bytes()).hexdigest()[:16]


def _make(size: Size, hub: Hub, partitions: int, path: Path) -> Facts:
    told = story(size)
    plain = 0
    written = 0
    for suffix, begin, end in ((".warm", 0, told.warm), (".timed", told.warm, len(told.number))):
        with path.with_suffix(suffix).open("wb") as file:
            for start in range(begin, end, CHUNK):
                made = lines(size, told, range(start, min(start + CHUNK, end)), hub)
                if suffix == ".timed":
                    plain += sum(len(line) for line, _ in made)
                for one in _packed(made, hub, partitions):
                    header = np.array([len(one.body), one.lines, one.partition], "<u4").tobytes()
                    file.write(header + one.body)
                    written += len(one.body) if suffix == ".timed" else 0
    timed = slice(told.warm, None)
    distinct, where = np.unique(told.number[timed], return_index=True)
    count = len(told.number) - told.warm
    return Facts(
        warm_lines=told.warm,
        lines=count,
        line_bytes=round(plain / max(count, 1), 1),
        body_bytes=round(written / max(count, 1), 1),
        unchanged_share=round(float(1 - _changes(told, timed)[where].mean()), 4),
        duplicates=count - len(distinct),
        out_of_order=_out_of_order(told, where + told.warm),
    )


def _changes(told: Story, timed: slice) -> npt.NDArray[np.bool_]:
    """Whether each event's version of any field is the first its system tells of."""
    entity, source, version = told.entity[timed], told.source[timed], told.version[timed].sum(axis=1)
    order = np.lexsort((told.us[timed], source, entity))
    same = (entity[order][1:] == entity[order][:-1]) & (source[order][1:] == source[order][:-1])
    fresh = np.ones(len(entity), np.bool_)
    fresh[order[1:]] = ~(same & (version[order][1:] == version[order][:-1]))
    if told.warm:  # the first measured event of a record follows the one before them
        first = order[np.r_[True, ~same]]
        fresh[first] = (told.version[timed][first] > 1).any(axis=1)
    found: npt.NDArray[np.bool_] = fresh | (told.op[timed] == GONE)
    return found


def _out_of_order(told: Story, first: npt.NDArray[np.int64]) -> int:
    """How many of the events at these places come after a later one of their entity."""
    at = np.sort(first)
    order = np.lexsort((at, told.entity[at]))
    entity, us = told.entity[at][order], told.us[at][order]
    behind = 0
    newest: dict[int, int] = {}
    for one, when in zip(entity.tolist(), us.tolist(), strict=True):
        behind += when < newest.get(one, when)
        newest[one] = max(when, newest.get(one, when))
    return behind


def lines(size: Size, told: Story, rows: range, hub: Hub) -> list[tuple[bytes, str]]:
    """Some events as encoded lines, each with the key it is bucketed by."""
    at = slice(rows.start, rows.stop)
    source = told.source[at].astype(np.int64)
    entity = told.entity[at]
    columns = values.columns(size.seed, entity, source, told.version[at].astype(np.int64))
    make = _resolved if hub == "resolved" else _change
    return [
        make(size.seed, *row)
        for row in zip(
            told.number[at].tolist(),
            entity.tolist(),
            source.tolist(),
            told.op[at].tolist(),
            told.us[at].tolist(),
            told.said[at].tolist(),
            zip(*columns, strict=True),
            strict=True,
        )
    ]


def _fields(op: int, said: Sequence[bool], row: tuple[object, ...]) -> dict[str, object]:
    if op == READ:
        return dict(zip(FIELDS, row, strict=True))
    if op == GONE:
        return {}
    return {name: value for name, value, mine in zip(FIELDS, row, said, strict=True) if mine}


def record(entity: int, source: int) -> str:
    """A record's key in its system."""
    return f"A{entity:07d}" if source == 0 else f"{entity + 1_000_000:010d}"


def _resolved(
    seed: int, number: int, entity: int, source: int, op: int, us: int, said: list[bool], row: tuple[object, ...]
) -> tuple[bytes, str]:
    match = str(entity + 100_000_000)
    whole = entity_id(TENANT, ENTITY, match)
    data = wire.ResolvedData(
        op="rud"[op],  # type: ignore[arg-type]  # one of the three
        entity=ENTITY,
        entity_id=whole,
        match_key=match,
        group=whole,
        stream=STREAM,
        key=record(entity, source),
        ts_us=us,
        run=1 + number // 50_000,
        row=number,
        captured_us=us,
        fields=_fields(op, said, row),  # type: ignore[arg-type]  # scalars only
    )
    line = wire.Resolved(
        id=hash_id(str(seed), str(number)),
        source=SOURCES[source],
        type=wire.RESOLVED,
        subject=f"{ENTITY}/{whole}",
        time=rfc3339(us),
        tenant=TENANT,
        data=data,
    )
    return wire.encode(line), whole


def _change(
    seed: int, number: int, entity: int, source: int, op: int, us: int, said: list[bool], row: tuple[object, ...]
) -> tuple[bytes, str]:
    key = record(entity, source)
    data = wire.ChangeData(
        op="rud"[op],  # type: ignore[arg-type]  # one of the three
        stream=STREAM,
        key=key,
        ts_us=us,
        run=1 + number // 50_000,
        row=number,
        captured_us=us,
        after=msgspec.Raw(wire.encode(_fields(op, said, row))),
    )
    line = wire.Change(
        id=hash_id(str(seed), str(number)),
        source=SOURCES[source],
        type=wire.CHANGE,
        subject=f"{STREAM}/{key}",
        time=rfc3339(us),
        tenant=TENANT,
        data=data,
    )
    return wire.encode(line), record_key(TENANT, SOURCES[source], STREAM, key)


def _packed(made: Sequence[tuple[bytes, str]], hub: Hub, partitions: int) -> Iterator[Packed]:
    """Lines of ``resolved`` as one partition's; of ``changes`` for each partition of the hub."""
    if hub == "resolved":
        by_partition = {0: [line for line, _ in made]}
        kind = wire.RESOLVED
    else:
        by_partition = {number: [] for number in range(partitions)}
        for line, key in made:
            by_partition[bucket(key, partitions)].append(line)
        kind = wire.CHANGE
    for partition, mine in by_partition.items():
        for event in wire.pack(partition, kind, mine):
            yield Packed(partition, int(event.properties["lines"]), event.body)


def _read(path: Path) -> Iterator[Packed]:
    with path.open("rb") as file:
        while header := file.read(_HEADER):
            length, count, partition = np.frombuffer(header, "<u4").tolist()
            yield Packed(partition, count, file.read(length))

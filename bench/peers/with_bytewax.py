"""The job in Bytewax: read lines, decode them, key them by account, fold each with a stateful step.

``python with_bytewax.py FOLDER``: FOLDER holds the events as one NDJSON file.
"""

# mypy: ignore-errors
# (what it imports is installed only in the peers' own environment)

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.connectors.files import FileSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import cluster_main
from job import Account, Delta, Match
from told import outcome, say


class Data(msgspec.Struct):
    """The part of an event that the job reads."""

    op: str
    entity_id: str
    ts_us: int
    run: int
    row: int
    fields: dict[str, Any] = {}


class Line(msgspec.Struct):
    """An event."""

    id: str
    source: str
    data: Data


decode = msgspec.json.Decoder(Line).decode
collected: list[Delta | Match] = []


class _Part(StatelessSinkPartition[tuple[str, Delta | Match]]):
    def write_batch(self, items: list[tuple[str, Delta | Match]]) -> None:
        collected.extend(item for _, item in items)


class Collect(DynamicSink[tuple[str, Delta | Match]]):
    """Keeps what comes out in memory."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Part:  # noqa: ARG002 - Bytewax's signature
        """The sink of one worker."""
        return _Part()


def fold(account: Account | None, line: Line) -> tuple[Account, list[Delta | Match]]:
    """One event of one account."""
    account = account or Account()
    data = line.data
    position = (data.ts_us, data.run, data.row)
    return account, account.fold(data.entity_id, line.id, line.source, data.op, position, data.fields)


def dataflow(path: Path) -> Dataflow:
    """Lines in, deltas and matches out."""
    flow = Dataflow("job")
    lines = op.input("lines", flow, FileSource(path, batch_size=1_000))
    keyed = op.key_on("account", op.map("decode", lines, decode), lambda line: line.data.entity_id)
    op.output("out", op.stateful_flat_map("fold", keyed, fold), Collect())
    return flow


if __name__ == "__main__":
    flow = dataflow(next(Path(sys.argv[1]).iterdir()))
    say("ready")
    cluster_main(flow, [], 0)
    say("done")
    outcome(collected)

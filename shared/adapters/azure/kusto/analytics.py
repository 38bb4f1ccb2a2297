"""History in the Eventhouse: rows are streamed to it, or queued above a rate, and none is lost on the way.

``ingest`` returns when its rows are stored, queued, or kept in the blobs because the service was away. What is kept
there goes its way when the clock sweeps. A row may come twice: tables carry ids and versions.
Rows that were queued are seen once the table's batching time has passed (eventhouse/policies.kql).
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from itertools import batched
from pathlib import Path
from typing import Final

from flockiq.shared.adapters.azure.kusto.answers import table as answered
from flockiq.shared.adapters.azure.kusto.cluster import Cluster
from flockiq.shared.adapters.azure.kusto.lanes import BATCH_BYTES, LINGER_S, Lane, Rate
from flockiq.shared.adapters.azure.kusto.verdicts import NotStreamed, Refused
from flockiq.shared.adapters.azure.kusto.waiting import Waiting
from flockiq.shared.errors import BadRecord, QueryError, StoreUnavailable, Undeclared
from flockiq.shared.ports import Blobs, Table
from flockiq.shared.sweeps import Left
from flockiq.shared.tables import Columns, known, lines, read_tables

logger = logging.getLogger("flockiq.azure.kusto")

TABLES: Final = Path(__file__).resolve().parents[4] / "eventhouse" / "tables.kql"
STREAMED_BYTES: Final = 3_500_000  # in one request, of the 4 MB it may have
STREAMED_RATE: Final = 1_100_000.0  # bytes a second and table: 4 GB an hour, above which rows are to be queued
QUEUE_S: Final = 900.0  # how long nothing is streamed to a table that takes no streaming
HOLD_S: Final = 30.0  # how long a service that was away is left alone
MAX_QUERY: Final = 100_000  # characters of KQL
_REMOVED: Final = 200  # conditions of one command

_COMMAND: Final = re.compile(r"\s*(\.[\w-]+(?:\s+\w+)?)")
_DECLARED: Final = re.compile(r"declare\s+query_parameters\s*\(([^;]*)\)\s*;")
_PARAMETER: Final = re.compile(r"(\w+)\s*:\s*(\w+)")
_LITERAL: Final = re.compile(r"[\w:.+ -]{1,64}")


class KustoAnalytics:
    """Analytics over an Eventhouse database; what it does not take waits in ``blobs``. A ``Sweeps``.

    ``tables`` is where the tables are declared, as they were deployed.
    """

    lingers = (
        "rows are deleted for good, and files that held them may keep their bytes until the table's retention ends; "
        "in Azure Data Explorer an admin removes those too, with .purge. Rows that were queued in the last 5 minutes "
        "may follow: erase again then"
    )

    def __init__(
        self,
        cluster: Cluster,
        blobs: Blobs,
        tables: Path = TABLES,
        *,
        streamed_rate: float = STREAMED_RATE,
        hold_s: float = HOLD_S,
        linger_s: float = LINGER_S,
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        self._cluster = cluster
        self._waiting = Waiting(blobs)
        self._path = tables
        self._streamed_rate, self._hold_s = streamed_rate, hold_s
        self._linger_s, self._batch_bytes = linger_s, batch_bytes
        self._tables: Mapping[str, Columns] | None = None
        self._reading = asyncio.Lock()
        self._lanes: dict[str, Lane] = {}
        self._rates: dict[str, Rate] = {}
        self._queued_until: dict[str, float] = {}  # by the monotonic clock: tables that take no streaming
        self._not_before = 0.0  # by the monotonic clock: until then rows are kept without asking
        self._sweeping = asyncio.Lock()

    async def ingest(self, table: str, rows: bytes) -> None:
        """See ``Analytics.ingest``. NotFound for an unknown table; BadRecord names the line of a bad row.

        StoreUnavailable if neither the Eventhouse nor the blobs take the rows.
        """
        given = lines(await self._declared(), table, rows)
        if not given:
            return
        if table not in self._lanes:
            self._lanes[table] = Lane(
                lambda batch: self._send(table, batch), linger_s=self._linger_s, batch_bytes=self._batch_bytes
            )
            self._rates[table] = Rate()
        await self._lanes[table].put(b"\n".join(given))

    async def query(self, kql: str, parameters: Mapping[str, str | int | float] | None = None) -> Table:
        """See ``Analytics.query``. QueryError says what is wrong with the query, or which limit it went over."""
        if len(kql) > MAX_QUERY:
            raise QueryError(f"the query has {len(kql):,} characters, over the limit of {MAX_QUERY:,}")
        if command := _COMMAND.match(kql):
            raise QueryError(f"{command[1]} is a command, which writes: only queries are run here")
        declared = dict(_PARAMETER.findall(" ".join(_DECLARED.findall(kql))))
        given: dict[str, str] = {}
        for name, value in (parameters or {}).items():
            if name not in declared:
                raise Undeclared(name, value)
            given[name] = _literal(declared[name], value)
        return answered(await self._cluster.query(kql, given))

    async def flush(self) -> None:
        """See ``Analytics.flush``; what was queued is seen when the service has batched it."""
        await asyncio.gather(*(lane.empty() for lane in self._lanes.values()))
        await self.sweep()

    async def remove(self, table: str, like: Sequence[Mapping[str, str]]) -> int:
        """See ``Analytics.remove``, by soft delete. Refused names the command for whoever may: it takes an admin.

        Rows that wait in the blobs are removed there; those that were queued come when their time does.
        https://learn.microsoft.com/kusto/management/soft-delete-command
        """
        unknown = {name for row in like for name in row} - known(await self._declared(), table).keys()
        if unknown:
            raise BadRecord(f"has no {', '.join(sorted(unknown))}", field=table)
        await asyncio.gather(*(lane.empty() for lane in self._lanes.values()))
        async with self._sweeping:
            removed = await self._waiting.remove(table, like)
        for some in batched(like, _REMOVED, strict=False):
            either = " or ".join(
                "(" + " and ".join(f"{name} == {_text(value)}" for name, value in row.items()) + ")" for row in some
            )
            rows = f"{table} | where {either}"
            counted = answered(await self._cluster.query(f"{rows} | count", {})).rows[0][0]
            if counted:
                await self._cluster.command(f".delete table {table} records <| {rows}")
                removed += int(str(counted))
        return removed

    async def sweep(self) -> int:
        """See ``Sweeps.sweep``."""
        async with self._sweeping:
            return await self._waiting.sweep(self._deliver)

    async def left(self) -> Left:
        """See ``Sweeps.left``."""
        return await self._waiting.left()

    async def close(self) -> None:
        """See ``Analytics.close``; what still waits in the blobs stays there."""
        await asyncio.gather(*(lane.empty() for lane in self._lanes.values()))
        await self._cluster.close()

    async def _declared(self) -> Mapping[str, Columns]:
        """The tables, read once: who comes meanwhile waits for them."""
        if self._tables is None:
            async with self._reading:
                if self._tables is None:
                    self._tables = await asyncio.to_thread(read_tables, self._path)
        return self._tables

    async def _send(self, table: str, rows: bytes) -> None:
        """One batch: to the service, or to the blobs."""
        if time.monotonic() >= self._not_before:
            try:
                await self._deliver(table, rows)
            except Refused as error:
                logger.error("rows of table %s are kept in the blobs: %s", table, error)  # noqa: TRY400 - what it says is all there is
            except StoreUnavailable as error:
                self._not_before = time.monotonic() + self._hold_s
                logger.warning("rows are kept in the blobs for %g s: %s", self._hold_s, error)
            else:
                return
        await self._waiting.keep(table, rows)

    async def _deliver(self, table: str, rows: bytes) -> None:
        """Stream rows, or queue them if they are many, come fast, or can't be streamed now."""
        rate = self._rates.setdefault(table, Rate()).add(len(rows))
        streams = time.monotonic() >= self._queued_until.get(table, 0.0)
        if streams and len(rows) <= STREAMED_BYTES and rate <= self._streamed_rate:
            try:
                await self._cluster.stream(table, rows)
            except Refused:
                raise
            except NotStreamed as error:
                if error.for_long:
                    self._queued_until[table] = time.monotonic() + QUEUE_S
                    logger.warning("rows of table %s are queued for %g s: %s", table, QUEUE_S, error)
            except StoreUnavailable as error:
                logger.info("rows of table %s are queued, for they can't be streamed: %s", table, error)
            else:
                return
        await self._cluster.queue(table, rows)


def _text(value: str) -> str:
    """A text as KQL writes it."""
    return json.dumps(value, ensure_ascii=False)


def _literal(kind: str, value: str | float) -> str:
    """A parameter's value as the service reads it: a text as it is, anything else as KQL writes it."""
    if not isinstance(value, str):
        return repr(value)
    if kind == "string" or value.startswith(f"{kind}("):
        return value
    if not _LITERAL.fullmatch(value):
        raise QueryError(f"{value[:80]!r} is no {kind}")
    return f"{kind}({value})"

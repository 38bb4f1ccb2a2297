"""What goes wrong in a storm: at every port every kind that can, once by plan and more often by chance."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from flockiq.shared.errors import FlockIQError
from tests.peers.serve import PLACES, Order, Plan, Served, Struck

ROOT: Final = Path(__file__).resolve().parents[3]
TENANT: Final = "default"  # the app's, as long as no setting names another

NEVER: Final[Mapping[str, Mapping[str, str]]] = {
    "blobs": {"torn": "only blocks are appended, and blobs are written whole"},
    "registry": {
        "batch_throttled": "it writes one document at a time",
        "moved": "its queries stay within one partition key",
    },
}
"""Kinds of faults that a port can't meet at its peer, and why."""

RATES: Final[Mapping[str, float]] = {
    "event_hubs": 0.01, "storage": 0.02, "cosmos": 0.01, "key_vault": 0.05, "eventhouse": 0.02,
}  # fmt: skip
"""The chance of each kind of fault at each of a peer's occasions."""

WITHIN: Final[Mapping[str, int]] = {
    "events": 12, "state": 12, "blobs": 4, "alerts": 2, "registry": 12, "secrets": 2, "analytics": 4,
}  # fmt: skip
"""Occasions within which a planned fault strikes: few where there are few."""

FIRST: Final[Mapping[tuple[str, str], str]] = {
    ("events", "unacknowledged"): "send/",
    ("events", "stolen"): "receive/",
    ("events", "expired"): "token/",
    ("registry", "retry_with"): "documents/replace",
    ("analytics", "refused"): "stream/",
    ("analytics", "unanswered"): "stream/",
    ("analytics", "unstreamed"): "stream/",
    ("analytics", "too_large"): "stream/",
}
"""Where a kind is planned that would seldom be met where others are."""

PLANNED: Final = frozenset({"unstreamed"})
"""Kinds that strike by plan alone: after one, nothing is streamed to a table for a quarter of an hour."""


class Weather:
    """The peers' process: starts storms, ends them, tells what has struck."""

    def __init__(self, process: asyncio.subprocess.Process, served: Served) -> None:
        self._process = process
        self.environment = served.environment
        self.kinds = {
            port: [kind for kind in kinds if kind not in NEVER.get(port, {})] for port, kinds in served.kinds.items()
        }

    async def storm(self, seed: int) -> None:
        """From now on everything goes wrong now and then."""
        rng = random.Random(seed)
        peers = {PLACES[port][0] for port in self.kinds}
        rates = {peer: self._rates(peer) for peer in sorted(peers)}
        plans = [Plan(port, kind, self._place(port, kind), rng.randrange(WITHIN[port])) for port, kind in self._pairs()]
        rng.shuffle(plans)
        await self._order(Order(seed=seed, storm=rates, plans=plans))

    async def keep(self, secrets: Mapping[str, str]) -> None:
        """Put secrets into the vault."""
        await self._order(Order(secrets=secrets))

    async def calm(self) -> None:
        """Nothing goes wrong any more."""
        await self._order(Order(clear=True))

    async def struck(self) -> Mapping[str, Mapping[str, int]]:
        """How often each kind has struck, by port."""
        return (await self._order(Order())).faults

    async def never(self) -> list[str]:
        """The kinds that have not struck yet at a port that can meet them."""
        struck = await self.struck()
        return [f"{port}: {kind}" for port, kind in self._pairs() if not struck[port][kind]]

    def _pairs(self) -> list[tuple[str, str]]:
        return [(port, kind) for port, kinds in self.kinds.items() for kind in kinds]

    def _rates(self, peer: str) -> dict[str, float]:
        kinds = {kind for port, kind in self._pairs() if PLACES[port][0] == peer} - PLANNED
        return dict.fromkeys(sorted(kinds), RATES[peer])

    def _place(self, port: str, kind: str) -> str:
        """Where a kind is planned: of a peer that serves several ports, at a place of this one's."""
        peer, places = PLACES[port]
        shared = sum(peer == other for other, _ in PLACES.values()) > 1
        return FIRST.get((port, kind), f"{places[0]}/" if shared else "")

    async def _order(self, order: Order) -> Struck:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        await self._process.stdin.drain()
        return await _heard(self._process, Struck)


@asynccontextmanager
async def weather(ports: Sequence[str], log: Path) -> AsyncIterator[Weather]:
    """The peers of ``ports`` in a process of their own, until left; what they have to complain of goes to ``log``."""
    with log.open("ab") as complaints:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.peers.serve", TENANT, *ports),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=complaints,
        )
    try:
        yield Weather(process, await _heard(process, Served))
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def _heard[T](process: asyncio.subprocess.Process, kind: type[T]) -> T:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise FlockIQError("the peers' process ended; peers.log in the data folder says why")
    heard: Any = msgspec.json.decode(line, type=kind)
    return heard

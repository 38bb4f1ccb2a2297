"""Takes the pictures: asks the app through its HTTP API, and the host what its functions do."""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import datetime

import httpx
import msgspec

from flockiq.cli.picture import Feed, Fired, Picture, Stage, State, Totals
from flockiq.cli.summary import Calls, Numbers
from flockiq.local.host.host import Host
from flockiq.shared.alerts import Severity, Status
from flockiq.shared.errors import FlockIQError

WINDOW_S = 10.0  # over which rates are taken
TIMEOUT_S = 5.0
ALERTS = 100  # asked for at a time
SHOWN: Sequence[Status] = ("firing", "acknowledged", "resolved")
WORST_FIRST: Sequence[State] = ("failing", "late", "waiting", "fresh")


class Stream(msgspec.Struct, frozen=True):
    """As much of a stream as the terminal shows; `GET /api/sources` tells more."""

    source: str
    state: State
    last_record_us: int = 0
    last_read_us: int = 0
    error: str = ""


class Streams(msgspec.Struct, frozen=True):
    """The answer of ``GET /api/sources``."""

    sources: list[Stream]


class Raised(msgspec.Struct, frozen=True):
    """As much of an alert as the terminal shows."""

    id: str
    severity: Severity
    status: Status
    title: str
    opened_us: int
    fired_us: int = 0


class Raisings(msgspec.Struct, frozen=True):
    """The answer of ``GET /api/alerts``."""

    alerts: list[Raised]


class Watch:
    """Looks at a running app, and remembers enough to tell rates."""

    def __init__(self, host: Host, *, duration_s: float | None, seed: int | None) -> None:
        self._host = host
        self._started = time.monotonic()
        self._client = httpx.AsyncClient(base_url=host.url, timeout=TIMEOUT_S, trust_env=False)
        self._rates = Rates()
        self._last = Picture(address=host.url, elapsed_s=0.0, duration_s=duration_s, seed=seed)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def numbers(self, since: datetime | None = None) -> Numbers:
        """The app's own numbers; latency of what was committed after ``since``. FlockIQError if it gives none."""
        return await self._get("/api/summary", Numbers, {} if since is None else {"since": since.isoformat()})

    def calls(self) -> dict[str, Calls]:
        """How often each function was called, and how often that failed."""
        return {name: Calls(each.invocations, each.failures) for name, each in self._host.functions.items()}

    async def look(self) -> Picture:
        """A picture of now; while the app does not answer, the last one with a note that says so."""
        elapsed_s = time.monotonic() - self._started
        try:
            numbers = await self.numbers()
            told = await self._get("/api/sources", Streams)
            raised = await self._get("/api/alerts", Raisings, {"limit": ALERTS, "status": SHOWN})
        except FlockIQError as error:
            self._last = msgspec.structs.replace(self._last, elapsed_s=elapsed_s, note=str(error))
            return self._last
        calls = self.calls()
        counts = {f"source {name}": records for name, records in numbers.captured.items()}
        counts |= {f"function {name}": each.invocations for name, each in calls.items()}
        rates = self._rates.of(counts, time.monotonic())
        self._last = msgspec.structs.replace(
            self._last,
            elapsed_s=elapsed_s,
            feeds=feeds(numbers.captured, told.sources, rates, time.time()),
            stages=stages(calls, await self._waiting(), rates),
            alerts=[fired(alert) for alert in raised.alerts],
            totals=totals(numbers),
            note="",
        )
        return self._last

    async def _waiting(self) -> Mapping[str, int]:
        """Events that each function has not had yet, by its name."""
        waiting: Counter[str] = Counter()
        for partition in await self._host.partitions():
            waiting[partition.function] += partition.lag
        return waiting

    async def _get[T](
        self, path: str, kind: type[T], query: Mapping[str, str | int | Sequence[str]] | None = None
    ) -> T:
        try:
            answer = await self._client.get(path, params=query)
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=kind)
        except httpx.HTTPStatusError as error:
            raise FlockIQError(f"The app answers {error.response.status_code} at {path}") from error
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            raise FlockIQError(f"The app gives no answer at {path}: {error or type(error).__name__}") from error


class Rates:
    """Turns counts that only grow into rates over the last WINDOW_S seconds."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, Mapping[str, int]]] = deque()

    def of(self, counts: Mapping[str, int], now: float) -> dict[str, float]:
        """The rate of each count a second; ``now`` in seconds of a clock that never goes back."""
        self._kept.append((now, counts))
        while len(self._kept) > 2 and now - self._kept[1][0] >= WINDOW_S:  # noqa: PLR2004 - a span has two ends
            self._kept.popleft()
        then, before = self._kept[0]
        over = now - then
        # A count that went back belongs to a service that began again: no negative rates.
        return {name: max(0, n - before.get(name, 0)) / over if over > 0 else 0.0 for name, n in counts.items()}


def feeds(captured: Mapping[str, int], streams: Sequence[Stream], rates: Mapping[str, float], now: float) -> list[Feed]:
    """A line for each source, as well as its worst stream; ``now`` in seconds since the epoch."""

    def line(source: str, its: Sequence[Stream]) -> Feed:
        worst = min(its, key=lambda each: WORST_FIRST.index(each.state))
        heard_us = max(max(each.last_record_us, each.last_read_us) for each in its)
        return Feed(
            source=source,
            records=captured.get(source, 0),
            rate=rates.get(f"source {source}", 0.0),
            age_s=max(0.0, now - heard_us / 1e6) if heard_us else None,
            state=worst.state,
            error=worst.error,
        )

    def name(each: Stream) -> str:
        return each.source

    return [line(source, list(its)) for source, its in itertools.groupby(sorted(streams, key=name), name)]


def stages(calls: Mapping[str, Calls], waiting: Mapping[str, int], rates: Mapping[str, float]) -> list[Stage]:
    """A line for each function, in the app's order."""
    return [
        Stage(
            function=name,
            waiting=waiting.get(name),
            calls=each.invocations,
            rate=rates.get(f"function {name}", 0.0),
            failures=each.failures,
        )
        for name, each in calls.items()
    ]


def fired(alert: Raised) -> Fired:
    """The line of an alert; its time is when it fired, on this machine's clock."""
    at = datetime.fromtimestamp((alert.fired_us or alert.opened_us) / 1e6).astimezone()
    return Fired(id=alert.id, at=f"{at:%H:%M:%S}", severity=alert.severity, status=alert.status, title=alert.title)


def totals(numbers: Numbers) -> Totals:
    """The app's numbers, summed over sources and rules."""
    p99 = numbers.latency_ms.p99
    return Totals(
        captured=sum(numbers.captured.values()),
        entities=numbers.entities,
        deltas=numbers.deltas,
        alerts=sum(each.firing + each.acknowledged for each in numbers.alerts.values()),
        dead_letters=numbers.dead_letters,
        p99_s=None if p99 is None else p99 / 1000,
    )

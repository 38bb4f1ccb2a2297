"""The clock: what time it is, told to every partition; query rules run; feeds are listened for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

import msgspec

from flockiq.shared import telemetry, wire
from flockiq.shared.alerts import OPEN, Alert, AlertQuery
from flockiq.shared.config.model import Config, Rule
from flockiq.shared.errors import Conflict, FlockIQError, TransientError
from flockiq.shared.instants import rfc3339
from flockiq.shared.outbox import ingest, tell_steps
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.positions import hash_id
from flockiq.shared.progress import Behind
from flockiq.shared.rules import note
from flockiq.shared.services import Services
from flockiq.shared.status import statuses
from flockiq.shared.sweeps import Sweeps
from flockiq.shared.tabular import packed
from flockiq.signal.periodic import Feed, Holding, ended, feeds_holding, rows_holding, transitions
from flockiq.signal.rows import alert_columns

log = logging.getLogger("flockiq.clock")

LONGEST_GAP_US = 10_000_000  # between moments of listening; after a longer one nobody was listening for feeds
FIRST_GAP_US = 6_000_000  # the same before a process's first tick, when another has died; infra/ has one every 5 s
LISTEN_S = 2.5  # between notes that somebody listens, while a tick takes its time
SWEEP_US = 30_000_000  # between looks for what could not be delivered
LAG_US = 30_000_000  # between tellings of how far functions are behind
LAG_S = 25.0  # that one of them may take
WAIT_S = 1.0  # that a tick waits for it


class Watch(msgspec.Struct, kw_only=True):
    """Since when the clock has been listening without a gap, and when it last did."""

    since_us: int
    tick_us: int


class Clock:
    """One process's clock."""

    def __init__(self, services: Services, config: Config) -> None:
        self.services = services
        self.config = config
        self._ran: dict[str, int] = {}  # query rules: when they last ran
        self._errors: dict[str, str] = {}  # query rules that can't be run, and why
        self._told: dict[str, str] | None = None  # of those, what the registry knows
        self._listened = False
        self._tidied = False
        self._swept_us = 0
        self._behind = Behind(services)
        self._measured_us = 0
        self._measuring: asyncio.Task[None] | None = None

    async def tick(self, now_us: int | None = None) -> None:
        """One tick. TransientError if the hub or a store is down; the next tick makes up for it."""
        now_us = time.time_ns() // 1000 if now_us is None else now_us
        await self._tell(now_us)
        since_us = await self._listen(now_us)
        on = asyncio.create_task(self._listen_on(now_us))
        try:
            await self._look(now_us, since_us)
        finally:
            on.cancel()
            await asyncio.wait([on])

    async def _look(self, now_us: int, since_us: int) -> None:
        """What feeds and queries give, and what waits."""
        if not self._tidied:
            await self._end_removed(now_us)
            self._tidied = True
        feeds: list[Feed] | None = None
        for rule in self.config.rules.values():
            if rule.kind == "absence":
                if feeds is None:
                    known = await statuses(self.services)
                    feeds = [Feed(*name, status.last_record_us) for name, status in known.items()]
                await self._apply(rule, feeds_holding(rule, feeds, since_us, now_us), now_us)
            elif rule.kind == "query" and now_us - self._ran.get(rule.name, 0) >= rule.every_us:
                self._ran[rule.name] = now_us
                await self._query(rule, now_us)
        await self._sweep(now_us)
        await self._measure(now_us)
        if self._errors != self._told and await note(self.services, self._errors):
            self._told = dict(self._errors)

    async def _sweep(self, now_us: int) -> None:
        """Take to the history what waits for it."""
        if isinstance(self.services.analytics, Sweeps) and now_us - self._swept_us >= SWEEP_US:
            self._swept_us = now_us
            try:
                await self.services.analytics.sweep()
            except TransientError as error:
                log.info("what waits for the history goes on waiting: %s", error)

    async def _measure(self, now_us: int) -> None:
        """Tell how far functions are behind, where somebody is told; a tick waits for it no longer than WAIT_S."""
        if not telemetry.on() or now_us - self._measured_us < LAG_US:
            return
        if self._measuring is None or self._measuring.done():
            self._measured_us = now_us
            self._measuring = asyncio.create_task(self._tell_lag(now_us))
        await asyncio.wait([self._measuring], timeout=WAIT_S)

    async def _tell_lag(self, now_us: int) -> None:
        try:
            async with asyncio.timeout(LAG_S):
                await self._behind.tell(now_us)
        except (TimeoutError, FlockIQError) as error:
            log.info("how far functions are behind can't be told: %s", str(error) or f"no answer within {LAG_S:g} s")

    async def _tell(self, now_us: int) -> None:
        """A tick to every partition of hub ``resolved``."""
        tenant = self.services.settings.tenant
        line = wire.encode(
            wire.Tick(
                id=hash_id(tenant, "tick", str(now_us)),
                source="clock",
                type=wire.TICK,
                time=rfc3339(now_us),
                tenant=tenant,
                data=wire.TickData(at_us=now_us),
            )
        )
        events: list[OutgoingEvent] = []
        for partition in range(await self.services.events.partition_count("resolved")):
            events += wire.pack(partition, wire.TICK, [line])
        await self.services.events.publish("resolved", events)

    async def _listen(self, now_us: int) -> int:
        """Note that somebody listens now; since when somebody has without a gap."""
        key = f"clock/{self.services.settings.tenant}"
        document = await self.services.registry.get(key)
        known = msgspec.json.decode(document.value, type=Watch) if document else Watch(since_us=now_us, tick_us=now_us)
        if now_us - known.tick_us > (LONGEST_GAP_US if self._listened else FIRST_GAP_US):
            known.since_us = now_us
        self._listened = True
        known.tick_us = max(now_us, known.tick_us)
        try:
            await self.services.registry.put(key, msgspec.json.encode(known), document.etag if document else None)
        except Conflict:
            log.debug("another clock ticked at the same time")
        return known.since_us

    async def _listen_on(self, now_us: int) -> None:
        """Go on listening until cancelled: a slow query or history makes nobody deaf."""
        began = time.monotonic()
        while True:
            await asyncio.sleep(LISTEN_S)
            try:
                await self._listen(now_us + int((time.monotonic() - began) * 1e6))
            except FlockIQError as error:
                log.info("that somebody listens can't be noted: %s", error)

    async def _query(self, rule: Rule, now_us: int) -> None:
        """Run a query rule; one that fails is said and left for its next turn."""
        try:
            table = await self.services.analytics.query(rule.query, {"tenant": self.services.settings.tenant})
            holding = rows_holding(rule, table.columns, table.rows, now_us)
        except TransientError:
            raise
        except FlockIQError as error:
            if self._errors.get(rule.name) != str(error):
                log.error("rule %s: %s can't be run: %s", rule.name, rule.query_file, error)  # noqa: TRY400 - says it all
            self._errors[rule.name] = str(error)
            return
        self._errors.pop(rule.name, None)
        await self._apply(rule, holding, now_us)

    async def _apply(self, rule: Rule, holding: Sequence[Holding], now_us: int) -> None:
        """Open, update and resolve; what a person resolved stays so until it has ended once."""
        tenant = self.services.settings.tenant
        alerts = await self._alerts(AlertQuery(rule=rule.name, statuses=OPEN))
        alerts += await self._alerts(AlertQuery(rule=rule.name, lasting=True))
        known = {alert.subject for alert in alerts}
        before = {
            one.subject: len(await self._alerts(AlertQuery(rule=rule.name, subject=one.subject)))
            for one in holding
            if one.subject not in known and not one.cause
        }
        steps = transitions(rule, tenant, holding, alerts, lambda subject: before[subject], now_us)
        if steps:
            await ingest(self.services.analytics, "Alerts", packed([alert_columns(steps, tenant)]))
            await self.services.alerts.apply(tenant, steps)
            tell_steps(steps)

    async def _end_removed(self, now_us: int) -> None:
        """Resolve what is open under rules that config has no more."""
        tenant = self.services.settings.tenant
        alerts = await self._alerts(AlertQuery(statuses=OPEN))
        steps = [ended(alert, now_us) for alert in alerts if alert.rule not in self.config.rules]
        if steps:
            await ingest(self.services.analytics, "Alerts", packed([alert_columns(steps, tenant)]))
            await self.services.alerts.apply(tenant, steps)
            tell_steps(steps)

    async def _alerts(self, query: AlertQuery) -> list[Alert]:
        found: list[Alert] = []
        while True:
            page = await self.services.alerts.query(self.services.settings.tenant, query)
            found += page.alerts
            if not page.continuation:
                return found
            query = msgspec.structs.replace(query, continuation=page.continuation)

"""One arrangement of a history: how it reaches the engine, and everything that goes wrong on the way.

Records' versions are put on hub ``changes`` in random order, some several times, packed at random,
bucketed as capture does. Owners of every partition of merge_changes and process_resolved take them
in batches of random size, are killed at every point of a commit, refused or left in the dark by
their ports, replaced by rivals that overlap with them, and given again what they already took.
"""

from __future__ import annotations

import json
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from flockiq.merge.changes import Changes
from flockiq.merge.mapping import stream_plans
from flockiq.pipeline.plans import plans
from flockiq.pipeline.resolved import Resolved
from flockiq.shared import wire
from flockiq.shared.config.load import load
from flockiq.shared.config.model import Config
from flockiq.shared.errors import HubUnavailable, StoreUnavailable, TransientError
from flockiq.shared.instants import rfc3339
from flockiq.shared.owner import Input, Owned, Owner
from flockiq.shared.positions import bucket, entity_id, record_key
from flockiq.shared.settings import HUBS, Settings
from tests.convergence.doubles import Memory, Moment, open_alerts, rows
from tests.convergence.histories import START_US, TENANT, History, Override, Press, Told
from tests.convergence.reference import Outcome

CHANGES, RESOLVED = 2, 3  # partitions
LATENESS_S = 3600.0
CRASHES = (
    *(f"killed when {point}" for point in ("folded", "committed", "published")),
    *(
        f"{what} {moment} {port}"
        for port in ("state", "hub", "alerts", "rows", "roll")
        for moment in ("before", "after")
        for what in ("killed", "refused")
    ),
    "overtaken between fold and commit",
)
"""Where an owner dies, is refused or left in the dark, or loses its fence."""
MET = (
    "rivals",
    "duplicates",
    "late versions",
    "moves",
    "lines told anew",
    "lines voided",
    "deltas taken back",
    "alerts withdrawn",
    "presses",
    "overrides",
    "overrides ended",
    "compactions",
)
"""What else cases are there to meet."""
MOST_BATCHES = 1_500

logging.getLogger("flockiq.owner").setLevel(logging.CRITICAL)  # a fault on purpose is no news


class Killed(BaseException):
    """The process dies here; nothing in it may catch that."""


@cache
def config() -> Config:
    """The config that histories are told under."""
    return load(Path(__file__).parent / "config", {})


class Arrangement:
    """A history on its way through the engine, with everything random drawn from ``seed``."""

    def __init__(self, history: History, clock_us: int, seed: str, *, harm: float = 0.15, plain: bool = False) -> None:
        """``harm``: how likely things go wrong; ``plain``: told in order, nothing twice."""
        self.history, self.clock_us, self.harm, self.plain = history, clock_us, harm, plain
        self.rng = random.Random(seed)
        self.memory = Memory()
        self.counts: Counter[str] = Counter()
        partitions = {**HUBS, "changes": CHANGES, "resolved": RESOLVED}
        self.settings = Settings(
            partitions=partitions,
            tenant=TENANT,
            lateness_s=LATENESS_S,
            versions_kept=1000,
            state_snapshot_entries=self.rng.choice([2, 4, 100]),
        )
        self.now_us = self.until_us = clock_us
        self.done: Counter[tuple[str, int]] = Counter()  # how far each partition's input is checkpointed
        self.waiting = list(history.pressed)
        self.unsaid = list(history.overridden)
        self.known: set[str] = set()  # entities told of
        self.read = 0  # rows of table Entities looked at
        self.owners: dict[tuple[str, int], list[Owner]] = {
            (hub, partition): [self._owner(hub, partition)]
            for hub, count in (("changes", CHANGES), ("resolved", RESOLVED))
            for partition in range(count)
        }

    async def run(self) -> Outcome:
        """Tell everything, let the clock tick once; what the world was told in the end."""
        told = list(self.history.told)
        if (
            not self.plain and self.rng.random() < 0.4
        ):  # what is old enough is folded into the base before the rest comes
            self.until_us = cut = self.rng.choice(told).us
            await self._tell([one for one in told if one.us < cut])
            await self._press_all()
            await self._override_all()
            await self._tick(cut - 1)
            await self._drain()
            await self._settle()
            self.counts["compactions"] += 1
            self.until_us = self.clock_us
            told = [one for one in told if one.us >= cut]
        await self._tell(told)
        await self._press_all()
        await self._override_all()
        await self._tick(self.clock_us)
        await self._drain()
        return self._outcome()

    async def _tell(self, told: Sequence[Told]) -> None:
        """Put versions on the hub bit by bit, in random order, some again, while owners work."""
        arriving = self.rng.sample(told, len(told))
        if self.plain or self.rng.random() < 0.2:
            arriving.sort(key=lambda one: (one.us, one.run, one.row, one.id))
        again = self.rng.sample(arriving, 0 if self.plain else len(arriving) // 6)
        self.counts["duplicates"] += len(again)
        newest: dict[tuple[str, str, str], tuple[int, int]] = {}
        for one in arriving:
            record, at = (one.source, one.stream, one.key), (one.us, one.run)
            self.counts["late versions"] += at < newest.get(record, at)
            newest[record] = max(at, newest.get(record, at))
        arriving += again
        while arriving:
            some, arriving = arriving[: (size := self.rng.randint(1, 24))], arriving[size:]
            for partition in range(CHANGES):
                lines = [_line(one, self.now_us) for one in some if _bucket(one) == partition]
                if lines:
                    await self._put("changes", partition, wire.CHANGE, lines)
            await self._work()
        await self._drain()

    async def _put(self, hub: str, partition: int, kind: str, lines: list[bytes]) -> None:
        """Publish lines as one event or several."""
        while lines:
            size = self.rng.randint(1, len(lines))
            events = list(wire.pack(partition, kind, lines[:size]))
            await self.memory.services(self.settings).events.publish(hub, events)
            lines = lines[size:]

    async def _tick(self, at_us: int) -> None:
        """The clock says to every partition how far time has come."""
        tick = wire.Tick(
            id="tick", source="clock", type=wire.TICK, time="", tenant=TENANT, data=wire.TickData(at_us=at_us)
        )
        for partition in range(RESOLVED):
            await self._put("resolved", partition, wire.TICK, [wire.encode(tick)])

    async def _override(self, said: Override) -> None:
        """Tell the partition of an entity what a person says of it, sometimes twice."""
        entity = entity_id(TENANT, said.entity, said.match_key)
        data = wire.OverrideData(
            entity=said.entity,
            entity_id=entity,
            match_key=said.match_key,
            group=said.group or entity,
            field=said.field,
            value=said.value,
            until_us=said.until_us,
            ends=said.ends,
            by=said.by,
            at_us=said.us,
        )
        line = wire.Override(
            id=said.id,
            source="serve",
            type=wire.OVERRIDE,
            time=rfc3339(said.us),
            tenant=TENANT,
            subject=f"{said.entity}/{entity}",
            data=data,
        )
        for _ in range(self.rng.choice([1, 1, 1, 2])):
            await self._put("resolved", bucket(data.group, RESOLVED), wire.OVERRIDE, [wire.encode(line)])
        self.counts["overrides ended" if said.ends else "overrides"] += 1

    async def _override_all(self) -> None:
        """What people have said by now of golden fields and has not been told yet."""
        due = [said for said in self.unsaid if said.us < self.until_us]
        self.unsaid = [said for said in self.unsaid if said not in due]
        for said in self.rng.sample(due, len(due)):
            await self._override(said)
        await self._drain()

    async def _press(self, press: Press) -> None:
        """Tell the partition that keeps the alert what a person did."""
        entity = entity_id(TENANT, press.entity, press.match_key)
        data = wire.ActionData(
            action="resolve", alert_id="", fingerprint="", rule=press.rule, entity_id=entity, by="anna", at_us=press.us
        )
        line = wire.Action(
            id=press.id, source="serve", type=wire.ACTION, time=rfc3339(press.us), tenant=TENANT, data=data
        )
        await self._put("resolved", bucket(press.group or entity, RESOLVED), wire.ACTION, [wire.encode(line)])
        self.counts["presses"] += 1

    async def _press_all(self) -> None:
        """What people have done by now and has not been told yet."""
        due = self._due()
        self.waiting = [press for press in self.waiting if press not in due]
        for press in due:
            await self._press(press)
        await self._drain()

    def _due(self) -> list[Press]:
        """What people have done by now, on entities that the engine has told of: only those are on a page."""
        rows_ = self.memory.tables["Entities"]
        self.known |= {str(msgspec.json.decode(row)["EntityId"]) for row in rows_[self.read :]}
        self.read = len(rows_)
        return [
            press
            for press in self.waiting
            if press.us < self.until_us and entity_id(TENANT, press.entity, press.match_key) in self.known
        ]

    async def _work(self) -> None:
        """A few partitions take a batch each, and people press what they can."""
        for place in self.rng.sample(list(self.owners), self.rng.randint(1, len(self.owners))):
            await self._batch(place)
        said = [one for one in self.unsaid if one.us < self.until_us]
        if said and self.rng.random() < 0.3:
            one = self.rng.choice(said)
            self.unsaid.remove(one)
            await self._override(one)
        if self.rng.random() < 0.1:
            await self._tick(self.rng.randrange(START_US - 60_000_000, self.until_us))
        due = self._due()
        if due and self.rng.random() < 0.3:
            press = self.rng.choice(due)
            self.waiting.remove(press)
            await self._press(press)

    async def _drain(self) -> None:
        """Work until every partition has taken all there is."""
        while any(self.done[place] < len(self.memory.hubs[place]) for place in self.owners):
            for place in self.owners:
                await self._batch(place)

    async def _settle(self) -> None:
        """A long time passes: overlapping owners are gone, outboxes told, what is old is folded into the base."""
        harm, self.harm = self.harm, 0.0
        for place in self.owners:
            self.owners[place] = [self._owner(*place)]
            await self.owners[place][0].process([])
        await self._drain()
        self.now_us += int(2 * LATENESS_S * 1e6)
        for place in self.owners:
            (owner,) = self.owners[place]
            owner._entries = self.settings.state_snapshot_entries
            await owner._roll()
        self.harm = harm

    async def _batch(self, place: tuple[str, int]) -> None:
        """One batch to one owner of a partition; it counts once the owner has taken it without harm."""
        log, at = self.memory.hubs[place], self.done[place]
        self.counts["batches"] += 1
        if self.counts["batches"] > MOST_BATCHES:
            raise AssertionError("the engine does not come to an end")
        if at >= len(log):
            return
        start = max(0, at - self.rng.choice([0, 0, 0, 1, 4]))  # a checkpoint may be older than what was taken
        end = at + self.rng.randint(1, 12)
        batch = [Input(event.sequence, event.body) for event in log[start:end]]
        owners = self.owners[place]
        if len(owners) == 1 and self.rng.random() < self.harm / 2:
            owners.append(self._owner(*place))
            self.counts["rivals"] += 1
        number = self.rng.randrange(len(owners))
        try:
            await owners[number].process(batch, self._hook(place, batch))
        except Killed:
            owners[number] = self._owner(*place)
            return
        except TransientError:
            return
        self.done[place] = max(at, min(end, len(log)))
        if len(owners) > 1 and self.rng.random() < 0.3:
            del owners[0]

    def _hook(self, place: tuple[str, int], batch: list[Input]) -> Any:
        async def hook(point: str) -> None:
            if self.rng.random() < self.harm / 3:
                self.counts[f"killed when {point}"] += 1
                raise Killed(point)
            if point == "folded" and self.rng.random() < self.harm / 2:
                self.counts["overtaken between fold and commit"] += 1
                harm, self.harm = self.harm, 0.0
                await self._owner(*place).process(batch)
                self.harm = harm

        return hook

    def _fault(self, port: str, moment: Moment) -> None:
        if self.rng.random() >= self.harm / 6:
            return
        if self.rng.random() < 0.5:
            self.counts[f"killed {moment} {port}"] += 1
            raise Killed(port)
        self.counts[f"refused {moment} {port}"] += 1
        raise (HubUnavailable if port == "hub" else StoreUnavailable)(f"{port}: not now")

    def _owner(self, hub: str, partition: int) -> Owner:
        """An owner with nothing in memory, as a process that has just started."""
        services = self.memory.services(self.settings, self._fault)
        owned: Owned
        if hub == "changes":
            owned = Changes(stream_plans(config()), self.settings, self._now)
            return Owner(services, f"merge_changes/{partition}", owned)
        owned = Resolved(plans(config()), self.settings, self._now)
        return Owner(services, f"process_resolved/{partition}", owned)

    def _now(self) -> int:
        self.now_us += 1000
        return self.now_us

    def _met(self) -> None:
        """Count what the engine went through, by what it told."""
        lines = list(_resolved(self.memory))
        self.counts["moves"] += sum(line["id"].endswith(":left") and line["data"]["op"] == "d" for line in lines)
        self.counts["lines told anew"] += sum(line["data"].get("rev", 0) > 0 for line in lines)
        self.counts["lines voided"] += sum(line["data"]["op"] == "v" for line in lines)
        self.counts["deltas taken back"] += sum(row["Kind"] == "retracted" for row in rows(self.memory, "Deltas"))
        self.counts["alerts withdrawn"] += sum(one.status == "withdrawn" for one in self.memory.alerts.values())

    def _outcome(self) -> Outcome:
        memory = self.memory
        self._met()
        letters = rows(memory, "DeadLetters")
        if letters:
            raise AssertionError(f"{len(letters)} dead letters, the first: {letters[0]}")
        golden: dict[str, dict[str, Any]] = {}
        for row in rows(memory, "Entities"):
            entity: Any = row
            if entity["EntityId"] not in golden or entity["Version"] >= golden[entity["EntityId"]]["Version"]:
                golden[entity["EntityId"]] = entity
        names = {name: (row["EntityType"], row["MatchKey"]) for name, row in golden.items()}
        alerts = {
            (*names[alert.subject], alert.rule): (alert.cause, alert.opened_us, alert.count, str(alert.status))
            for alert in open_alerts(memory)
        }
        if len(alerts) != len(open_alerts(memory)):
            raise AssertionError("two open alerts of one rule about one entity")
        return Outcome(
            {
                (*names[name], field): (value, *(row["Provenance"][field][what] for what in ("source", "rule")))
                for name, row in golden.items()
                for field, value in row["Fields"].items()
                if value is not None
            },
            _effective(rows(memory, "Deltas")),
            alerts,
            _standing(rows(memory, "Findings")),
        )


def _resolved(memory: Memory) -> Iterator[dict[str, Any]]:
    """Every line of hub ``resolved`` about a record."""
    for (hub, _), events in memory.hubs.items():
        for event in events if hub == "resolved" else ():
            if event.properties["kind"] == wire.RESOLVED:
                for line in wire.unpack(event.body).split(b"\n"):
                    yield msgspec.json.decode(line)


def _effective(told: Sequence[dict[str, Any]]) -> set[tuple[str, ...]]:
    """The deltas that stand, as eventhouse/queries/effective_deltas.kql says: the last word of each counts."""
    facts: dict[str, tuple[str, ...]] = {}
    last: dict[str, tuple[str, bool]] = {}
    for row in told:
        stands = row["Kind"] != "retracted"
        name = row["DeltaId"] if stands else row["Retracts"]
        facts[name] = (row["EntityType"], row["MatchKey"], row["Field"], row["CauseId"], row["Old"], row["New"])
        last[name] = max(last.get(name, ("", False)), (row["CommittedAt"], stands))
    return {facts[name] for name, (_, stands) in last.items() if stands}


def _standing(told: Sequence[dict[str, Any]]) -> set[tuple[str, ...]]:
    """The findings that stand, as eventhouse/queries/findings.kql says; each names what it is the end of."""
    facts: dict[str, dict[str, Any]] = {}
    last: dict[str, tuple[str, bool]] = {}
    for row in told:
        taken = row["Kind"] == "retracted"
        name = row["Retracts"] if taken else row["FindingId"]
        if not taken:
            facts[name] = row
        last[name] = max(last.get(name, ("", False)), (row["CommittedAt"], taken))
    standing = [facts[name] for name, (_, taken) in last.items() if not taken]
    return {
        (
            *(row[name] for name in ("EntityType", "MatchKey", "Field", "Kind", "CauseId")),
            facts[row["Ends"]]["CauseId"] if row["Ends"] else "",
        )
        for row in standing
    }


def _bucket(one: Told) -> int:
    return bucket(record_key(TENANT, one.source, one.stream, one.key), CHANGES)


def _line(one: Told, captured_us: int) -> bytes:
    after = json.dumps(one.after).encode()
    data = wire.ChangeData(
        op=one.op,
        stream=one.stream,
        key=one.key,
        ts_us=one.us,
        run=one.run,
        row=one.row,
        captured_us=captured_us,
        after=msgspec.Raw(after),
    )
    change = wire.Change(
        id=one.id,
        source=one.source,
        type=wire.CHANGE,
        subject=f"{one.stream}/{one.key}",
        time=rfc3339(one.us),
        tenant=TENANT,
        data=data,
    )
    return wire.encode(change)

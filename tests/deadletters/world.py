"""The pipeline over embedded ports, a batch at a time: what is on the hubs is worked off by its real owners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from flockiq.capture.again import is_again, take_again
from flockiq.capture.sources import Capture
from flockiq.merge.changes import Changes
from flockiq.merge.mapping import stream_plans
from flockiq.pipeline.plans import plans
from flockiq.pipeline.resolved import Resolved
from flockiq.serve.deadletters import DeadLetter, Filter, State, listed, replay
from flockiq.shared import wire
from flockiq.shared.config.load import load
from flockiq.shared.instants import rfc3339
from flockiq.shared.owner import Input, Owned, Owner
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.positions import entity_id, hash_id
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import HUBS, Settings

TENANT = "default"
PARTITIONS = 2
US = 1_700_000_000_000_000
PEER = """
entity: peer
fields:
  name: {type: string}
  limit: {type: decimal, scale: 2}
  rating: {type: float}
  staff: {type: %(staff)s}
  active: {type: boolean}
  since: {type: date}
  seen: {type: timestamp}
  notes: {type: json}
"""
WEB = """
source: web
connector: files
files: {path: inbox/web}
streams:
  contacts:
    pattern: "*.csv"
    format: {kind: csv}
    primary_key: [%(primary_key)s]
    modified: changed
    entity: peer
    fields:
      {name: name, limit: limit, rating: rating, staff: staff, active: active, since: since, seen: seen, notes: notes}
"""


class World:
    """One app over one data folder. ``staff``, ``primary_key``: how config reads records; mending one mends letters."""

    def __init__(self, folder: Path, *, staff: str = "integer", primary_key: str = "id") -> None:
        self.folder = folder
        written = folder / f"config-{staff}-{primary_key}"
        for kind, text in (("entities", PEER), ("sources", WEB)):
            (written / kind).mkdir(parents=True, exist_ok=True)
            (written / kind / "one.yaml").write_text(text % {"staff": staff, "primary_key": primary_key})
        (written / "rules").mkdir(exist_ok=True)
        self.config = load(written, {})
        counts = {**HUBS, **dict.fromkeys(("changes", "resolved", "work"), PARTITIONS)}
        self.services: Services = connect(Settings(data=folder / "data", partitions=counts))
        self.capture = Capture(self.services, self.config.sources, {})
        self._owners: dict[tuple[str, int], Owner] = {}
        self._works = 0

    async def close(self) -> None:
        """Let go of the folder, so that another world may open it."""
        await self.services.close()

    async def publish(self, hub: str, *bodies: bytes, partition: int = 0) -> None:
        """Put packed events, or what pretends to be some, on a hub."""
        await self.services.events.publish(hub, [OutgoingEvent(partition, body, {}) for body in bodies])

    async def work(self) -> None:
        """Work off hubs ``work`` (records captured again), ``changes`` and ``resolved``."""
        works = []
        for partition in range(PARTITIONS):
            for event in await self.services.events.read("work", partition, 0, 1_000):
                works += [msgspec.json.decode(line, type=wire.Work) for line in wire.unpack(event.body).split(b"\n")]
        fresh, self._works = works[self._works :], len(works)
        await take_again(self.capture, filter(is_again, fresh))
        for hub in ("changes", "resolved"):
            for partition in range(PARTITIONS):
                events = await self.services.events.read(hub, partition, 0, 10_000)
                await self._owner(hub, partition).process([Input(event.sequence, event.body) for event in events])

    def _owner(self, hub: str, partition: int) -> Owner:
        if (hub, partition) not in self._owners:
            owned: Owned
            if hub == "changes":
                owned = Changes(stream_plans(self.config), self.services.settings)
                name = f"merge_changes/{partition}"
            else:
                owned = Resolved(plans(self.config), self.services.settings)
                name = f"process_resolved/{partition}"
            self._owners[hub, partition] = Owner(self.services, name, owned)
        return self._owners[hub, partition]

    async def letters(self, state: State = "open") -> list[DeadLetter]:
        """The letters, newest first."""
        return (await listed(self.services, Filter(state=state))).dead_letters

    async def replay_all(self) -> None:
        """Replay every open letter and work off what that brings."""
        for letter in await self.letters():
            await replay(self.services, self.config, letter.id, self.capture.now_us())
        await self.work()

    async def golden(self) -> dict[str, dict[str, Any]]:
        """{the key of web's record: the golden record's fields}."""
        table = await self.services.analytics.query(
            "Entities | summarize arg_max(Version, *) by EntityId | project MatchKey, Fields"
        )
        return {
            str(key).removeprefix("web/contacts/"): msgspec.convert(fields, dict[str, Any])
            for key, fields in table.rows
        }

    async def deltas(self) -> list[tuple[str, ...]]:
        """Every delta that was told, sorted: (entity, field, old, new, kind)."""
        table = await self.services.analytics.query("Deltas | project EntityId, Field, Old, New, Kind, DeltaId")
        return sorted({tuple(map(str, row)) for row in table.rows})


def change(key: str, after: Mapping[str, object] | bytes, us: int = US, /, **other: object) -> bytes:
    """A line of hub ``changes``, made by hand so that it can be wrong; ``after`` as bytes stands as it is.

    ``other`` replaces what the envelope or its data say.
    """
    body = after if isinstance(after, bytes) else msgspec.json.encode(after)
    data: dict[str, object] = {
        "op": "r",
        "stream": "contacts",
        "key": key,
        "ts_us": us,
        "run": 1,
        "row": 0,
        "captured_us": US,
        "after": msgspec.Raw(body),
    }
    whole: dict[str, object] = {
        "specversion": "1.0",
        "id": hash_id(key, str(us)),
        "source": "web",
        "type": wire.CHANGE,
        "subject": f"contacts/{key}"[:100],
        "time": rfc3339(US),
        "tenant": TENANT,
    }
    return _line(whole, data, other)


def resolved(key: str, fields: Mapping[str, object] | bytes, us: int = US, /, **other: object) -> bytes:
    """A line of hub ``resolved``, made like ``change``."""
    body = fields if isinstance(fields, bytes) else msgspec.json.encode(fields)
    match_key = f"web/contacts/{key}"
    place = entity_id(TENANT, "peer", match_key)
    data: dict[str, object] = {
        "op": "r",
        "entity": "peer",
        "entity_id": place,
        "match_key": match_key,
        "group": place,
        "stream": "contacts",
        "key": key,
        "ts_us": us,
        "run": 1,
        "row": 0,
        "captured_us": US,
        "fields": msgspec.Raw(body),
    }
    whole: dict[str, object] = {
        "specversion": "1.0",
        "id": hash_id(key, str(us)),
        "source": "web",
        "type": wire.RESOLVED,
        "subject": f"peer/{place}",
        "time": rfc3339(US),
        "tenant": TENANT,
    }
    return _line(whole, data, other)


def _line(whole: dict[str, object], data: dict[str, object], other: Mapping[str, object]) -> bytes:
    for name, value in other.items():
        (data if name in data else whole)[name] = value
    gone = [name for name, value in data.items() if value is None]
    for name in gone:
        del data[name]
    return msgspec.json.encode(whole | {"data": data})


def packed(lines: Sequence[bytes]) -> bytes:
    """Lines as one event, however large."""
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(b"\n".join(lines))

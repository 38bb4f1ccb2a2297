"""A small world of people in two systems, one of whom is to be erased: everything about her holds a mark."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from flockiq.local.folding import Folding
from flockiq.shared import rawhistory, segments, wire
from flockiq.shared.config.load import load
from flockiq.shared.instants import rfc3339
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.positions import bucket, entity_id, hash_id, record_key
from flockiq.shared.segments import Segment
from flockiq.shared.services import Services

TENANT = "default"
MARK = "zyxwvut"
MAIL = f"{MARK}@example.org"  # what she is known by
HER = entity_id(TENANT, "person", MAIL)
PERSON = """
entity: person
match_key: lower(mail)
overrides: true
fields:
  mail: {type: string}
  name: {type: string}
  city: {type: string}
  spent: {type: decimal, scale: 2}
drift:
  name: {}
anomalies:
  spent: {}
"""
SOURCE = """
source: %s
connector: files
files: {path: inbox/%s}
streams:
  people:
    pattern: "*.csv"
    format: {kind: csv}
    primary_key: [id]
    modified: changed
    entity: person
    fields: {mail: mail, name: name, city: city, spent: spent}
"""
RULE = """
entity: person
rules:
  big-spender: {severity: warning, when: spent > 100.0, title: "{name} in {city} spends {spent}"}
"""


def write_config(folder: Path) -> Path:
    """The config of this world."""
    for kind in ("entities", "sources", "rules"):
        (folder / kind).mkdir(parents=True)
    (folder / "entities" / "person.yaml").write_text(PERSON)
    (folder / "rules" / "person.yaml").write_text(RULE)
    for source in ("crm", "shop"):
        (folder / "sources" / f"{source}.yaml").write_text(SOURCE % (source, source))
    return folder


def now_us() -> int:
    """Now."""
    return time.time_ns() // 1000


class People:
    """Tells of people over one app's services, and works off what that brings."""

    def __init__(self, services: Services, config: Path) -> None:
        self.services = services
        self.config = load(config, {})
        self.folding = Folding(services, self.config)
        self.told: list[tuple[int, bytes]] = []  # every line of hub changes with its partition

    async def tell(self, source: str, key: str, us: int, *, captured_us: int = 0, op: str = "r", **fields: Any) -> None:
        """A version of a record, onto hub ``changes``."""
        body = msgspec.json.encode(fields)
        line = msgspec.json.encode(
            {
                "specversion": "1.0",
                "id": hash_id(source, key, str(us), body.decode()),
                "source": source,
                "type": wire.CHANGE,
                "subject": f"people/{key}",
                "time": rfc3339(us),
                "tenant": TENANT,
                "data": {
                    "op": op,
                    "stream": "people",
                    "key": key,
                    "ts_us": us,
                    "run": 1,
                    "row": 0,
                    "captured_us": captured_us or us,
                    "after": msgspec.Raw(body),
                },
            }
        )
        partitions = await self.services.events.partition_count("changes")
        partition = bucket(record_key(TENANT, source, "people", key), partitions)
        self.told.append((partition, line))
        await self.publish([(partition, line)])

    async def publish(self, lines: Sequence[tuple[int, bytes]]) -> None:
        """Lines onto hub ``changes``, as they are."""
        events: list[OutgoingEvent] = []
        for partition, line in lines:
            events += wire.pack(partition, wire.CHANGE, [line])
        await self.services.events.publish("changes", events)

    async def work(self) -> None:
        """Work off everything."""
        await self.folding.off()

    async def golden(self) -> dict[str, Mapping[str, Any]]:
        """Golden records by match key, of those that are not deleted."""
        await self.services.analytics.flush()
        table = await self.services.analytics.query(
            "Entities | summarize arg_max(Version, *) by EntityId | project MatchKey, Fields"
        )
        return {str(key): msgspec.convert(fields, dict[str, Any]) for key, fields in table.rows}

    async def override(self, mail: str, field: str, value: str, at_us: int) -> None:
        """A person sets a field, as the page does."""
        entity = entity_id(TENANT, "person", mail)
        data = wire.OverrideData(
            entity="person",
            entity_id=entity,
            match_key=mail,
            group=entity,
            field=field,
            by="tester",
            at_us=at_us,
            value=value,
            until_us=at_us + 86_400_000_000,
        )
        line = wire.encode(
            wire.Override(
                id=hash_id(mail, field, str(at_us)),
                source="flockiq",
                type=wire.OVERRIDE,
                time=rfc3339(at_us),
                tenant=TENANT,
                subject=f"person/{entity}",
                data=data,
            )
        )
        await rawhistory.keep_line(self.services.blobs, TENANT, at_us, line)
        partition = bucket(entity, await self.services.events.partition_count("resolved"))
        await self.services.events.publish("resolved", list(wire.pack(partition, wire.OVERRIDE, [line])))


async def fill(people: People) -> None:
    """Her and others, in state, alerts, dead letters, raw history, key sets and the history."""
    blobs, start = people.services.blobs, now_us() - 3_600_000_000
    for number in range(6):
        for source in ("crm", "shop"):
            her = {
                "mail": MAIL.upper(),
                "name": f"{MARK} {source} {number}",
                "city": f"{MARK}town",
                "spent": 90 + number * 9,
            }
            await people.tell(source, f"{MARK}-1", start + number * 1000, **her)
            other = {"mail": "eve@example.org", "name": f"Eve {number}", "city": "Lyon", "spent": 200}
            await people.tell(source, "e1", start + number * 1000, **other)
    await people.work()
    await people.tell("crm", f"{MARK}-1", start + 1500, mail=MAIL, name=f"{MARK} late", city="Porto", spent=10)
    await people.tell("shop", f"{MARK}-2", start, mail=MAIL, name=f"{MARK} bad", city="Porto", spent=f"{MARK} much")
    await people.tell("shop", "e2", start, mail="eve@example.org", name="Eve", city="Porto", spent="much")
    await people.override(MAIL, "city", f"{MARK}ville", start + 3000)
    await people.override("eve@example.org", "city", "Turin", start + 3000)
    await people.publish([(0, b'{"type": "nothing", "of": "' + MAIL.encode() + b'"}')])
    await people.work()
    segment = Segment([f"{MARK}-1", "e1", f"{MARK}-2"], [1, 2, 3], ["x"])
    await blobs.put(f"{segments.FOLDER}/{TENANT}/shop/people/0000000001/0000000001-000000", segments.packed(segment))
    raw = rawhistory.packed([line for _, line in people.told])
    await blobs.put(rawhistory.path(TENANT, "changes", start, "0-0"), raw)
    large = zstandard.compress(b"\n".join(line for _, line in people.told[:2]))
    await blobs.put("overflow/changes/0/0123456789abcdef0123456789abcdef", large)
    await blobs.put("overflow/changes/0/00000000000000000000000000000000", zstandard.compress(people.told[1][1]))


def holding(folder: Path) -> list[str]:
    """The files that hold the mark, in any case, plain or inside zstd frames."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [str(path.relative_to(folder)) for path in files if MARK.encode() in _texts(path.read_bytes()).lower()]


def _texts(body: bytes) -> bytes:
    """A file's bytes, and those of every zstd frame in it, plain or in base64, and in those."""
    parts, at = [body], 0
    parts += [_texts(base64.b64decode(one)) for one in re.findall(rb'"RecordBase64":"([^"]*)"', body)]
    while (at := body.find(b"\x28\xb5\x2f\xfd", at)) >= 0:
        try:
            inner = zstandard.ZstdDecompressor().decompressobj().decompress(body[at:])
            parts.append(_texts(inner) if inner else b"")
        except zstandard.ZstdError:
            pass
        at += 4
    return b"\n".join(parts)

"""What a key that a person writes may mean: the entities and the records that are to be erased.

A key is an entity's id, its match key, or a record as ``source/stream/key``. What an entity's id would be follows from
its match key alone, so an entity is found even where the history has nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from flockiq.shared import rawhistory
from flockiq.shared.config.model import Config
from flockiq.shared.positions import entity_id, is_id
from flockiq.shared.services import Services

_ENTITIES = """
declare query_parameters(tenant:string, id:string, key:string);
Entities
| where Tenant == tenant and (EntityId == id or MatchKey == key)
| summarize arg_max(Version, *) by EntityId
| project EntityType, EntityId, MatchKey
"""
_RECORDS = """
declare query_parameters(tenant:string, id:string);
Changes
| where Tenant == tenant and EntityId == id
| distinct Source, Stream, Key
"""
_OF_RECORD = """
declare query_parameters(tenant:string, source:string, stream:string, key:string);
Changes
| where Tenant == tenant and Source == source and Stream == stream and Key == key
| distinct EntityType, EntityId
"""


class Record(NamedTuple):
    """A record of a source."""

    source: str
    stream: str
    key: str


class Subject(msgspec.Struct, kw_only=True):
    """What is to be erased. ``known``: names of the entities that the history has, as ``type id``.

    ``streams``: those whose records describe such entities, as ``source/stream``.
    """

    entities: list[str]  # ids
    names: list[str]  # keys that they are known by
    records: list[Record]
    known: list[str]
    streams: list[str]

    def like(self, tenant: str, column: str) -> list[dict[str, str]]:
        """Rows of the history about the entities."""
        return [{"Tenant": tenant, column: one} for one in self.entities]

    def like_records(self, tenant: str) -> list[dict[str, str]]:
        """Rows of the history about the records."""
        return [{"Tenant": tenant, "Source": one.source, "Stream": one.stream, "Key": one.key} for one in self.records]

    def needles(self) -> list[bytes]:
        """What in the text of a line, in lower case, tells that it may be about an entity."""
        return [msgspec.json.encode(one).lower() for one in (*self.entities, *self.names)]

    def lines(self) -> rawhistory.Match:
        """What tells a line of a hub that is about them."""
        return rawhistory.Match(frozenset(self.entities), frozenset(map(tuple, self.records)))  # type: ignore[arg-type]


async def subject_of(services: Services, config: Config, key: str, kind: str) -> Subject:
    """What ``key`` means, for one entity type or (``kind`` is "") for all."""
    tenant = services.settings.tenant
    await services.analytics.flush()
    ids: dict[str, None] = {}
    names = {key: None}
    known: dict[str, None] = {}
    records: dict[Record, None] = {}
    kinds = [kind] if kind else list(config.entities)
    if is_id(key):
        ids[key] = None
    else:
        ids |= dict.fromkeys(entity_id(tenant, one, key) for one in kinds)
    place = key.split("/", 2)
    if len(place) == len(Record._fields):
        record = Record(*place)
        records[record] = None
        for of_type, found in await _ask(services, _OF_RECORD, tenant=tenant, **record._asdict()):
            if kind in ("", of_type):
                ids[found] = None
    for one in list(ids):
        for of_type, found, match_key in await _ask(services, _ENTITIES, tenant=tenant, id=one, key=key):
            if kind in ("", of_type):
                ids[found] = None
                names |= {match_key: None} if match_key else {}
                known[f"{of_type} {found}"] = None
    for one in ids:
        found_records = await _ask(services, _RECORDS, tenant=tenant, id=one)
        records |= dict.fromkeys(Record(*row) for row in found_records)
    names |= dict.fromkeys("/".join(record) for record in records)
    types = {one.partition(" ")[0] for one in known} or set(kinds)
    streams = [
        f"{source.source}/{name}"
        for source in config.known.values()
        for name, stream in source.streams.items()
        if stream.entity in types
    ]
    return Subject(entities=list(ids), names=list(names), records=list(records), known=list(known), streams=streams)


async def _ask(services: Services, query: str, **parameters: str) -> Sequence[tuple[str, ...]]:
    table = await services.analytics.query(query, parameters)
    return [tuple(str(value or "") for value in row) for row in table.rows]

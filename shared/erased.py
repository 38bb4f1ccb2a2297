"""What was erased, remembered beside the state: keyed hashes, so that no store that is written later takes it up again.

The owners of state have tombstones of their own. These are for what is kept past them (raw history), and for a system
whose state was lost: a replay begins by telling the owners what is not to come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from flockiq.shared import wire
from flockiq.shared.errors import Conflict
from flockiq.shared.instants import rfc3339
from flockiq.shared.services import Services
from flockiq.shared.tombstones import KEPT_US, Tombstones

FOLDER: Final = "erased"


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """One erasure. ``names``: the hashes of entities' ids and records' names, ``salt`` their key; in hexadecimal."""

    request: str
    at_us: int
    salt: str
    names: list[str]

    def line(self, tenant: str, entities: Sequence[str] = ()) -> bytes:
        """The line of a hub that tells of it. ``entities``: ids of those that are to be forgotten as well."""
        data = wire.EraseData(
            request=self.request, entities=list(entities), at_us=self.at_us, salt=self.salt, names=self.names
        )
        return wire.encode(
            wire.Erase(
                id=self.request,
                source="flockiq",
                type=wire.ERASE,
                time=rfc3339(self.at_us),
                tenant=tenant,
                data=data,
            )
        )


_decode = msgspec.json.Decoder(Erased).decode


async def remember(services: Services, erased: Erased) -> None:
    """Keep it; a second time changes nothing."""
    key = f"{FOLDER}/{services.settings.tenant}/{erased.request}"
    try:
        await services.registry.put(key, msgspec.json.encode(erased), None)
    except Conflict:
        return


async def remembered(services: Services, now_us: int) -> list[Erased]:
    """Every erasure that still counts; those whose time is over are forgotten."""
    found = {
        key: _decode(one.value)
        for key, one in (await services.registry.list(f"{FOLDER}/{services.settings.tenant}/")).items()
    }
    for key in [key for key, one in found.items() if one.at_us + KEPT_US <= now_us]:
        del found[key]
        await services.registry.delete(key)
    return list(found.values())


async def tombstones(services: Services, now_us: int) -> Tombstones:
    """The tombstones of all of them."""
    stones = Tombstones()
    for one in await remembered(services, now_us):
        for name in one.names:
            stones.put_digest(bytes.fromhex(one.salt), bytes.fromhex(name), one.at_us)
    return stones


async def send(services: Services, hub: str, line: bytes) -> None:
    """A line to every partition of a hub."""
    partitions = range(await services.events.partition_count(hub))
    events = [event for partition in partitions for event in wire.pack(partition, wire.ERASE, [line])]
    await services.events.publish(hub, events)

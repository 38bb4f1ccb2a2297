"""Records that can't be processed: kept whole with the reason, listed for people, replayable.

Each is a blob ``dead-letters/<tenant>/<stage>/<day>/<id>.json`` and a row of table DeadLetters.
The id is a hash of what was wrong with what, so that burying the same record again changes nothing.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Sequence

import msgspec
import xxhash

from flockiq.shared.errors import Conflict
from flockiq.shared.instants import rfc3339
from flockiq.shared.positions import hash_id
from flockiq.shared.services import Services

MAX_BODY_BYTES = 1_000_000  # of a record kept; what is beyond is cut and said to be
_AT_ONCE = 16  # blobs written at a time
_LONGEST_REASON = 500


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One record that a stage could not process. ``reason`` names the field and what is wrong, no secrets."""

    stage: str  # capture, merge, …
    source: str
    stream: str
    reason: str
    at_us: int
    body: bytes = b""  # the record as it came
    key: str = ""
    field: str = ""


async def bury(services: Services, letters: Sequence[DeadLetter]) -> None:
    """Keep every letter; returns once all are safe. StoreUnavailable: bury them all again."""
    tenant = services.settings.tenant
    rows: list[bytes] = []
    for start in range(0, len(letters), _AT_ONCE):
        some = letters[start : start + _AT_ONCE]
        rows += await asyncio.gather(*(_keep(services, tenant, letter) for letter in some))
    if rows:
        await services.analytics.ingest("DeadLetters", b"\n".join(rows))


async def _keep(services: Services, tenant: str, letter: DeadLetter) -> bytes:
    """Write a letter's blob; its row."""
    fingerprint = xxhash.xxh3_128_hexdigest(letter.body)
    name = hash_id(tenant, letter.stage, letter.source, letter.stream, letter.key, letter.reason, fingerprint)
    at = rfc3339(letter.at_us)
    path = f"dead-letters/{tenant}/{letter.stage}/{at[:10]}/{name}.json"
    row = {
        "Id": name,
        "Tenant": tenant,
        "Stage": letter.stage,
        "Source": letter.source,
        "Stream": letter.stream,
        "Key": letter.key,
        "Field": letter.field,
        "Reason": letter.reason[:_LONGEST_REASON],
        "At": at,
        "Path": path,
    }
    with contextlib.suppress(Conflict):  # buried before
        await services.blobs.put(path, msgspec.json.encode(row | _record(letter.body)), create_only=True)
    return msgspec.json.encode(row)


def _record(body: bytes) -> dict[str, str | bool]:
    """The record as text where it is text, else in base64."""
    kept = body[:MAX_BODY_BYTES]
    cut = {"Cut": True} if len(body) > MAX_BODY_BYTES else {}
    try:
        return {"Record": kept.decode(), **cut}
    except UnicodeDecodeError:
        return {"RecordBase64": base64.b64encode(kept).decode(), **cut}

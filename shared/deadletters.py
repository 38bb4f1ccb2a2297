"""Records that can't be processed: kept whole with the reason, listed for people, replayable.

Each is a blob ``dead-letters/<tenant>/<stage>/<day>/<id>.json`` and a row of table DeadLetters.
The id is a hash of what was wrong with what, so that burying the same record again changes nothing;
after a replay it opens the letter again. shared/replay.py says how a letter is sent back.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import Sequence

import msgspec
import xxhash

from flockiq.shared import telemetry
from flockiq.shared.errors import Conflict, StateCorrupt
from flockiq.shared.instants import rfc3339
from flockiq.shared.positions import hash_id
from flockiq.shared.services import Services

MAX_BODY_BYTES = 1_000_000  # of a record kept; what is beyond is cut and said to be
_AT_ONCE = 16  # blobs written at a time
_LONGEST_REASON = 500
_LONGEST_NAME = 1_000  # characters of a key or field in the row; the record has it whole


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
    line: int = 0  # its number in the event that brought it, from 1; 0 when it came by itself or is the whole event
    first_us: int = 0  # when it was first set aside, if that was before ``at_us``
    told: bool = False  # the body is the event of a webhook's delivery that tells of the record


class Kept(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A letter's blob: its row as first written (``at``: when it was first set aside), and the record."""

    id: str
    stage: str
    source: str
    stream: str
    key: str
    field: str
    reason: str
    at: str
    path: str
    line: int = 0
    record: str = ""
    record_base64: str = ""  # in place of ``record``, where that is no text
    cut: bool = False  # the record is longer than what is kept of it
    told: bool = False  # it is the event of a webhook's delivery

    @property
    def body(self) -> bytes:
        """The record's bytes."""
        return base64.b64decode(self.record_base64) if self.record_base64 else self.record.encode()


_kept = msgspec.json.Decoder(Kept).decode


async def bury(services: Services, letters: Sequence[DeadLetter]) -> None:
    """Keep every letter; returns once all are safe. StoreUnavailable: bury them all again."""
    tenant = services.settings.tenant
    rows: list[bytes] = []
    for start in range(0, len(letters), _AT_ONCE):
        some = letters[start : start + _AT_ONCE]
        rows += await asyncio.gather(*(_keep(services, tenant, letter) for letter in some))
    if rows:
        await services.analytics.ingest("DeadLetters", b"\n".join(rows))
    for letter in letters:
        telemetry.add(telemetry.LETTERS, 1, stage=letter.stage)


async def exhume(services: Services, path: str) -> Kept:
    """What the blob at ``path`` keeps. NotFound if it is gone; StateCorrupt if it is damaged."""
    body = await services.blobs.get(path)
    try:
        kept = _kept(body)
        _ = kept.body
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as error:
        raise StateCorrupt(f"the dead letter {path} is damaged ({error}): restore the blob from a backup") from error
    return kept


async def note_replayed(services: Services, kept: Kept, at: str, replayed_us: int) -> None:
    """Close a letter that was last buried ``at``; it opens again if it is buried after ``replayed_us``."""
    row = {
        "Id": kept.id,
        "Tenant": services.settings.tenant,
        "Stage": kept.stage,
        "Source": kept.source,
        "Stream": kept.stream,
        "Key": kept.key,
        "Field": kept.field,
        "Reason": kept.reason,
        "At": at,
        "Path": kept.path,
        "Line": kept.line,
        "ReplayedAt": rfc3339(replayed_us),
    }
    await services.analytics.ingest("DeadLetters", msgspec.json.encode(row))


async def _keep(services: Services, tenant: str, letter: DeadLetter) -> bytes:
    """Write a letter's blob; its row."""
    fingerprint = xxhash.xxh3_128_hexdigest(letter.body)
    name = hash_id(tenant, letter.stage, letter.source, letter.stream, letter.key, letter.reason, fingerprint)
    at, first = rfc3339(letter.at_us), rfc3339(letter.first_us or letter.at_us)
    path = f"dead-letters/{tenant}/{letter.stage}/{first[:10]}/{name}.json"
    row = {
        "Id": name,
        "Tenant": tenant,
        "Stage": letter.stage,
        "Source": letter.source,
        "Stream": letter.stream,
        "Key": letter.key[:_LONGEST_NAME],
        "Field": letter.field[:_LONGEST_NAME],
        "Reason": letter.reason[:_LONGEST_REASON],
        "At": at,
        "Path": path,
        "Line": letter.line,
    }
    with contextlib.suppress(Conflict):  # buried before
        whole = row | {"At": first} | _record(letter.body) | ({"Told": True} if letter.told else {})
        await services.blobs.put(path, msgspec.json.encode(whole), create_only=True)
    return msgspec.json.encode(row)


def _record(body: bytes) -> dict[str, str | bool]:
    """The record as text where it is text, else in base64."""
    kept = body[:MAX_BODY_BYTES]
    cut = {"Cut": True} if len(body) > MAX_BODY_BYTES else {}
    try:
        return {"Record": kept.decode(), **cut}
    except UnicodeDecodeError:
        return {"RecordBase64": base64.b64encode(kept).decode(), **cut}


class _About(msgspec.Struct):
    stream: str = ""
    key: str = ""


class _Line(msgspec.Struct):
    """What most lines say of the record they are about."""

    source: str = ""
    data: _About = msgspec.field(default_factory=_About)


_about = msgspec.json.Decoder(_Line).decode


def letter_of(stage: str, line: bytes, reason: str, now_us: int) -> DeadLetter:
    """A letter for a line of a hub, under the name of the record it is about, as far as it says one."""
    try:
        about = _about(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        about = _Line()
    return DeadLetter(
        stage=stage,
        source=about.source,
        stream=about.data.stream,
        key=about.data.key,
        reason=reason,
        at_us=now_us,
        body=line,
    )

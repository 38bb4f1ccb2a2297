"""Records set aside: which, why, what is kept of them, and the way back."""

from __future__ import annotations

from typing import Literal, cast

import msgspec

from flockiq.serve.queries import Row, ask
from flockiq.shared.config.load import Config
from flockiq.shared.deadletters import Kept, exhume, note_replayed
from flockiq.shared.errors import BadRecord, NotFound
from flockiq.shared.instants import instant_us, rfc3339
from flockiq.shared.replay import NotReplayable, way_back
from flockiq.shared.services import Services

State = Literal["open", "replayed", "all"]

MOST = 500  # letters a page; the query takes one more
MOST_SHOWN = 100_000  # bytes of a record


class DeadLetter(msgspec.Struct, frozen=True):
    """A record set aside."""

    id: str
    stage: str
    source: str
    stream: str
    key: str
    field: str
    line: int  # its number in the event that brought it; 0 when it came by itself or is the whole event
    reason: str
    at: str  # when it last failed
    replayed_at: str  # when it was last sent back; "" for never
    open: bool  # not sent back since it last failed


class DeadLetterPage(msgspec.Struct, frozen=True):
    """Records set aside, newest first; ``continuation`` asks for the next page, "" is the last."""

    dead_letters: list[DeadLetter]
    continuation: str


class DeadLetterRecord(msgspec.Struct, frozen=True):
    """A record set aside, with the record."""

    letter: DeadLetter
    record: str  # as text, or in base64 where it is none
    base64: bool
    size: int  # bytes of the record that are kept
    cut: bool  # the record is longer than what is shown of it
    refusal: str  # why it can't be replayed and what to do instead; "" when it can


class Replayed(msgspec.Struct, frozen=True):
    """A record sent back. If it fails again, it is open again."""

    id: str
    hub: str  # where it went
    replayed_at: str


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters are asked for; "" is any."""

    stage: str = ""
    source: str = ""
    stream: str = ""
    state: State = "open"


async def listed(services: Services, which: Filter, limit: int = MOST, continuation: str = "") -> DeadLetterPage:
    """A page of letters, newest first. BadRecord if ``continuation`` is none of ours."""
    after = _after(continuation) if continuation else {}
    rows = await ask(services, "dead_letters", **msgspec.structs.asdict(which), **after)
    shown = rows[: min(limit, MOST)]
    more = len(rows) > len(shown) and shown
    last = f"{shown[-1]['At']}~{shown[-1]['Place']}" if more else ""
    return DeadLetterPage([_letter(row) for row in shown], last)


async def one(services: Services, config: Config, letter_id: str) -> DeadLetterRecord:
    """A letter with its record and whether it can be replayed. NotFound if there is none, or its record is gone."""
    row, kept = await _found(services, letter_id)
    try:
        await way_back(services, config, kept)
        refusal = ""
    except NotReplayable as error:
        refusal = str(error)
    record = kept.record_base64 or kept.record
    limit = MOST_SHOWN // 4 * 4  # base64 is cut between its groups of four
    return DeadLetterRecord(
        letter=_letter(row),
        record=record[:limit],
        base64=bool(kept.record_base64),
        size=len(kept.body),
        cut=kept.cut or len(record) > limit,
        refusal=refusal,
    )


async def replay(services: Services, config: Config, letter_id: str, now_us: int) -> Replayed:
    """Send a letter's record back to the stage that could not process it, then close the letter.

    In this order, so that a crash in between loses nothing: sent twice, it counts once. NotFound if
    there is no such letter; NotReplayable if it can't be sent; HubUnavailable when it was not sent.
    """
    row, kept = await _found(services, letter_id)
    way = await way_back(services, config, kept)
    await services.events.publish(way.hub, way.events)
    at = str(row["At"])
    await note_replayed(services, kept, at, now_us)
    return Replayed(id=letter_id, hub=way.hub, replayed_at=rfc3339(now_us))


async def _found(services: Services, letter_id: str) -> tuple[Row, Kept]:
    rows = await ask(services, "dead_letter", id=letter_id)
    if not rows:
        raise NotFound(
            f"there is no dead letter {letter_id!r} (the list tells which there are, also of those replayed)"
        )
    return rows[0], await exhume(services, str(rows[0]["Path"]))


def _letter(row: Row) -> DeadLetter:
    texts = {
        name: str(row[name.capitalize()] or "")
        for name in ("id", "stage", "source", "stream", "key", "field", "reason", "at")
    }
    return DeadLetter(
        **texts,
        line=cast("int", row["Line"] or 0),
        replayed_at=str(row["ReplayedAt"] or ""),
        open=bool(row["IsOpen"]),
    )


def _after(continuation: str) -> dict[str, str | int]:
    at, _, place = continuation.partition("~")
    try:
        instant_us(at)
        return {"before": at, "after": int(place)}
    except ValueError as error:
        raise BadRecord(f"{continuation[:80]!r} is no continuation of this list", field="continuation") from error

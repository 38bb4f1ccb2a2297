"""What can't be mapped, as dead letters: the line it came on, the field and the reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from flockiq.shared import wire
from flockiq.shared.deadletters import DeadLetter
from flockiq.shared.faults import UNREADABLE, fault_of
from flockiq.shared.lines import Bad, Decoded, Decoders

STAGE = "merge"
DECODERS: Decoders = {
    wire.CHANGE: msgspec.json.Decoder(wire.Change),
    wire.ERASE: msgspec.json.Decoder(wire.Erase),
}

_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_value = msgspec.json.Decoder().decode


class Misfit(NamedTuple):
    """A change that can't be mapped, with the field and the reason."""

    change: wire.Change
    field: str
    reason: str


def letters(found: Decoded, misfits: Sequence[Misfit], now_us: int) -> list[DeadLetter]:
    """A letter for every line that is none and every change that fits nowhere."""
    numbers = found.numbers(wire.CHANGE) if misfits else {}
    told = [_unreadable(bad, now_us) for bad in found.bad]
    return told + [_letter(misfit, numbers[id(misfit.change)], now_us) for misfit in misfits]


def no_record(after: msgspec.Raw) -> tuple[str, str]:
    """Why bytes are no JSON object: (field, reason); the field if only one value in it is to blame."""
    try:
        members = _object(after)
    except UNREADABLE as error:
        fault = fault_of(after, error)
        return (fault.field, fault.reason) if fault.field else ("", f"the record is no JSON object: {fault.reason}")
    for name, raw in members.items():
        try:
            _value(raw)
        except UNREADABLE as error:
            return name, fault_of(raw, error).reason
    return "", "the record is no JSON object"


def _letter(misfit: Misfit, number: int, now_us: int) -> DeadLetter:
    change = misfit.change
    return DeadLetter(
        stage=STAGE,
        source=change.source,
        stream=change.data.stream,
        key=change.data.key,
        field=misfit.field,
        line=number,
        reason=misfit.reason,
        at_us=now_us,
        body=wire.encode(change),
    )


def _unreadable(bad: Bad, now_us: int) -> DeadLetter:
    return DeadLetter(
        stage=STAGE,
        source=bad.whose.source,
        stream=bad.whose.stream,
        key=bad.whose.key,
        field=bad.field,
        line=bad.line,
        reason=bad.reason,
        at_us=now_us,
        body=bad.body,
    )

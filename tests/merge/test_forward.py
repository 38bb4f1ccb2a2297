"""Lines written column by column are, byte by byte, those of the wire's own encoder."""

from __future__ import annotations

import msgspec
import pytest

from flockiq.merge.changes import Changes
from flockiq.shared import wire
from flockiq.shared.config.model import Config
from tests.merge.feed import change, changes_of, packed

KEYS = ["7", "ß/ü", 'say "hi"', "back\\slash", "😀", "%d %b", "x" * 300]


def lines(changes: Changes, given: list[wire.Change]) -> list[bytes]:
    """What one batch forwards."""
    box = changes.fold(packed(given), 1).outbox
    return [line for event in box.events["resolved"] for line in wire.unpack(event.body).split(b"\n")]


@pytest.mark.parametrize("trace", ["", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])
def test_a_line_is_what_the_wire_encodes(config: Config, trace: str) -> None:
    """Whatever is in keys, names and fields; with and without a traceparent; read, updated, deleted."""
    told = [
        msgspec.structs.replace(
            change(op, us, {"name": f"{key}é%s", "tax_id": key, "staff": None} if op != "d" else {}, key=key),
            traceparent=trace,
        )
        for us, op in ((-1_000_000, "r"), (2_000_000, "u"), (3_000_001, "d"))
        for key in KEYS
    ]
    changes = changes_of(config, partitions=1)
    found = [line for one in told for line in lines(changes, [one])]
    decoder = msgspec.json.Decoder(wire.RawResolved)
    assert len(found) == len(told)
    assert found == [wire.encode(decoder.decode(line)) for line in found]
    assert {decoder.decode(line).data.key for line in found} == set(KEYS)
    assert {decoder.decode(line).traceparent for line in found} == {trace}

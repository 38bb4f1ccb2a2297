"""What the app tells about itself, over the embedded hubs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flockiq.capture.publish import HUB, Lines, publish
from flockiq.capture.records import Taken
from flockiq.shared import telemetry, wire
from flockiq.shared.errors import FenceLost
from flockiq.shared.positions import Position
from tests.deadletters.world import PARTITIONS, TENANT, US, World
from tests.telemetry.conftest import Recorded

RULE = """
entity: peer
rules:
  many:
    severity: warning
    when: staff > 10
    title: "{name} has {staff}"
"""
SECRET = "Contoso"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """An app with one rule."""
    rules = tmp_path / "config-integer-id" / "rules"
    rules.mkdir(parents=True)
    (rules / "one.yaml").write_text(RULE)
    opened = World(tmp_path)
    yield opened
    await opened.close()


async def _capture(world: World, key: str, staff: object) -> None:
    lines = Lines(TENANT, "web", "contacts", PARTITIONS)
    after = b'{"name":"%b","staff":"%b","traceparent":"00-%b-%b-01"}' % (
        SECRET.encode(),
        str(staff).encode(),
        b"a" * 32,
        b"b" * 16,
    )
    lines.add("c", Taken(op="c", key=key, us=US, time=b"", after=after), Position(US, 1, 1), US)
    await publish(world.services.events, HUB, lines.events())


async def test_one_trace_follows_a_change_from_capture_to_its_alert(world: World, recorded: Recorded) -> None:
    """Every span of it has one trace id, none has anything of the record, and the numbers are right."""
    await _capture(world, "1", 50)
    await world.work()
    spans = recorded.exporter.get_finished_spans()
    assert {span.name for span in spans} == {"capture", "merge_changes", "process_resolved", "alerts"}
    assert len({span.context.trace_id for span in spans if span.context}) == 1
    assert SECRET not in "".join(span.to_json() for span in spans)
    numbers = recorded.numbers()
    assert numbers[telemetry.RECORDS] == 1
    assert numbers[telemetry.EVENTS] == 2
    assert numbers[telemetry.FRESHNESS] == 2
    assert numbers[telemetry.ALERTS] == 1
    assert numbers[telemetry.INGEST] >= 1
    assert telemetry.LETTERS not in numbers
    assert telemetry.FENCES not in numbers


async def test_a_batch_of_many_traces_is_linked_to_them(world: World, recorded: Recorded) -> None:
    """It belongs to the first and refers to the others, to so many at most; a record's own text is none of them."""
    for number in range(telemetry.MAX_BODIES * PARTITIONS * 2):
        await _capture(world, str(number), 1)
    await world.work()
    spans = recorded.exporter.get_finished_spans()
    captured = {span.context.trace_id for span in spans if span.name == "capture" and span.context}
    batches = [span for span in spans if span.name == "merge_changes"]
    assert len(batches) == PARTITIONS
    for span in batches:
        assert span.context
        assert span.context.trace_id in captured
        assert len(span.links) == min(telemetry.MAX_LINKS, telemetry.MAX_BODIES) - 1
        assert {link.context.trace_id for link in span.links} < captured - {span.context.trace_id}


async def test_dead_letters_and_lost_fences_are_counted(
    world: World, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One record that can't be read, one append that another owner was ahead of."""
    append = type(world.services.state).append
    lost: list[bool] = []

    async def late(self: object, *given: object) -> object:
        if not lost:
            lost.append(True)
            raise FenceLost("another owner has written")
        return await append(self, *given)  # type: ignore[arg-type]  # whatever it takes

    monkeypatch.setattr(type(world.services.state), "append", late)
    await world.publish("changes", next(iter(wire.pack(0, wire.CHANGE, [b'{"specversion":"1.0"}']))).body)
    await world.work()
    numbers = recorded.numbers()
    assert numbers[telemetry.FENCES] == 1
    assert numbers[telemetry.LETTERS] >= 1


async def test_what_is_captured_without_telemetry_carries_no_trace(world: World) -> None:
    """The lines are the same bytes as ever."""
    await _capture(world, "1", 1)
    bodies = [e.body for place in range(PARTITIONS) for e in await world.services.events.read(HUB, place, 0, 10)]
    assert [b'"traceparent":"",' in line or b',"traceparent":"00-' in line.split(b'"data"')[0]
            for body in bodies for line in wire.lines_in(body)[1]] == [False]  # fmt: skip


def test_nothing_is_loaded_while_it_is_off() -> None:
    """Cold start does not pay for what nobody asked for."""
    code = (
        "import sys; from flockiq.shared import telemetry; telemetry.start({'FLOCKIQ_TELEMETRY': 'off'});"
        "assert telemetry.captured('a', 'b') == '';"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])  # noqa: S603 - our own text

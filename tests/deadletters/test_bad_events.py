"""Events that are no events: each is told whole, the others of its batch count, and memory stays bounded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import zstandard

from flockiq.merge.changes import Changes
from flockiq.merge.mapping import stream_plans
from flockiq.shared import wire
from flockiq.shared.deadletters import exhume
from flockiq.shared.owner import Folded, Input, Owner
from tests.deadletters.world import World, change, packed, resolved

ROOT = Path(__file__).parents[2]
WHOLE = packed([b'{"type": "x"}'] * 100)


def bomb(size: int, *, tells: bool) -> bytes:
    """A few kB that expand to ``size`` bytes; ``tells``: whether the frame says so beforehand."""
    if tells:
        return zstandard.ZstdCompressor().compress(bytes(size))
    streamed = zstandard.ZstdCompressor().compressobj()
    return streamed.compress(bytes(size)) + streamed.flush()


EVENTS: Mapping[str, tuple[bytes, str]] = {
    "empty": (b"", "is not one whole zstd frame"),
    "no compression": (b'{"type": "flockiq.change"}', "is not one whole zstd frame"),
    "corrupt": (WHOLE[:12] + bytes(8) + WHOLE[20:], "is not one whole zstd frame"),
    "truncated": (WHOLE[:-4], "is not one whole zstd frame"),
    "more after its end": (WHOLE + b"more", "is not one whole zstd frame"),
    "a bomb that tells": (bomb(50_000_000, tells=True), "expands to 50,000,000 bytes"),
    "a bomb that does not": (bomb(50_000_000, tells=False), "is not one whole zstd frame"),
    "nothing inside": (packed([]), "it is empty"),
    "of an unknown kind": (WHOLE, "none of its 100 lines can be read; the first: 'x' is none of flockiq."),
    "no line of it is JSON": (packed([b"a", b"b"]), "none of its 2 lines can be read; the first: JSON is malformed"),
}


@pytest.mark.parametrize(("hub", "line"), [("changes", change), ("resolved", resolved)])
async def test_an_event_that_cannot_be_read_is_one_letter_and_the_others_count(
    world: World, hub: str, line: Callable[..., bytes]
) -> None:
    """Before, between and after them in the same batch, good events are folded."""
    for number, (body, _) in enumerate(EVENTS.values()):
        await world.publish(hub, packed([line(f"good-{number}", {"name": "n"})]), body)
    await world.publish(hub, packed([line("good-last", {"name": "n"})]))
    await world.work()
    assert len(await world.golden()) == len(EVENTS) + 1

    kept = {
        (await exhume(world.services, path)).body: await exhume(world.services, path)
        for path in await world.services.blobs.list("dead-letters/")
    }
    assert kept.keys() == {body for body, _ in EVENTS.values()}
    for name, (body, reason) in EVENTS.items():
        assert reason in kept[body].reason, name
        assert kept[body].line == 0


class Poisoned(Changes):
    """A fold with a fault of its own: no batch that holds a certain text survives it."""

    def fold(self, bodies: Sequence[bytes], commit: int) -> Folded:
        """See ``Owned.fold``."""
        for body in bodies:
            if b"poison" in b"\n".join(wire.lines_in(body)[1]):
                raise ZeroDivisionError
        return super().fold(bodies, commit)


async def test_looking_for_a_record_that_breaks_the_fold_loses_no_other(world: World) -> None:
    """Bad lines, even the first, and unreadable events of the same batch still become letters of their own."""
    owner = Owner(world.services, "merge_changes/0", Poisoned(stream_plans(world.config), world.services.settings))
    good = [change(f"good-{number}", {"name": "n"}) for number in range(30)]
    bodies = [packed([b"{", *good[:20], change("7", {"name": "poison"})]), b"", packed([*good[20:], b"["])]
    await owner.process([Input(number, body) for number, body in enumerate(bodies)])
    await world.work()
    assert len(await world.golden()) == 30
    letters = await world.letters()
    assert len(letters) == 4
    [culprit] = [letter for letter in letters if "ZeroDivisionError" in letter.reason]
    assert (culprit.stage, culprit.source, culprit.stream, culprit.key) == ("merge_changes", "web", "contacts", "7")


MEMORY = """
import resource, sys
from pathlib import Path
from flockiq.merge.changes import Changes
from flockiq.merge.mapping import stream_plans
from flockiq.pipeline.plans import plans
from flockiq.pipeline.resolved import Resolved
from flockiq.shared.settings import Settings
from tests.deadletters.world import World, change, packed, resolved

def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000

world = World(Path(sys.argv[1]))
merge, process = Changes(stream_plans(world.config), Settings()), Resolved(plans(world.config), Settings())
bombs = [path.read_bytes() for path in Path(sys.argv[2]).iterdir()]
for owned, line in ((merge, change), (process, resolved)):
    owned.load(b"", [])
    owned.fold([packed([line("warm", {"name": "n"})])], 1)
before = used()
for owned, line in ((merge, change), (process, resolved)):
    hostile = bombs * 10 + [
        packed([line(str(n), {"name": "a" * 850_000}) for n in range(9)]),
        packed([line("wide", {f"f{n}": "x" * 20 for n in range(200_000)})]),
        packed([line("deep", b'{"notes": ' + b"[" * 3_500_000 + b"]" * 3_500_000 + b"}")]),
        packed([line("lists", b'{"notes": [' + b"[]," * 2_000_000 + b"[]]}")]),
    ]
    folded = owned.fold(hostile, 2)
    assert len(folded.letters) >= 40 + 9 + 2, len(folded.letters)
print(used() - before)
"""
MOST_MB = 400  # about twice what it takes


def test_hostile_events_take_bounded_memory(tmp_path: Path) -> None:
    """Bombs of up to 400 MB, texts, fields, depths and lists by the million: a process grows by a fixed bound."""
    bombs = tmp_path / "bombs"
    bombs.mkdir()
    for size in (7_900_000, 400_000_000):  # made here: what making them takes is not what is measured
        for tells in (True, False):
            (bombs / f"{size}-{tells}").write_bytes(bomb(size, tells=tells))
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", MEMORY, tmp_path / "world", bombs], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < MOST_MB, done.stdout

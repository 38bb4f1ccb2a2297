"""Part ``peers``: the same job in FlockIQ, Bytewax and PySpark, and whether the outputs are the same.

The job is a part of what the engine part measures: five of the fifty rules, no drift, no late data; with
all fifty, FlockIQ's rate on the same events is told beside it. All get the same events in order (with
their repetitions), as plain NDJSON for the peers and packed for FlockIQ. CPU is that of every process a
peer has started, from when it is ready to when it is done.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import tempfile
from itertools import batched
from pathlib import Path
from typing import Any

import msgspec

from flockiq.bench.engine import Engine
from flockiq.bench.engine_part import Say, run_alone
from flockiq.bench.fresh import fresh
from flockiq.bench.history import Size
from flockiq.bench.workload import CACHE, ENTITY, Workload, batches, plan, workload
from flockiq.pipeline.types import Effect
from flockiq.shared import wire
from flockiq.shared.lanes import value_of

PEERS = Path(__file__).parent / "peers"
PYTHON = Path(__file__).parent / ".peers" / "bin" / "python"
HOW = "bench/peers/install puts it there"
MICRO_BATCH = 50_000  # lines a file: Spark takes one at a time; Bytewax reads one file in order, several at once
PATIENCE_S = 1_200
_FIRST_FILE_S = 1_700_000_000  # a peer may go by the times of files
_STATES = ("risk-extreme", "credit-huge")
_TICKS = os.sysconf("SC_CLK_TCK")


def peers_part(events: int, say: Say) -> dict[str, object]:
    """Events per CPU second of each, and how many times slower than FlockIQ each peer is."""
    size = Size(events, max(events // 10, 10), late=0.0)
    work = workload(size)
    say(f"peers: {events:,} events in order over {size.entities:,} entities, in FlockIQ")
    rules = tuple(_peers_module("job").RULES)
    ours = work.facts.lines / fresh(run_alone, work, 0.0, rules).cpu_s
    fifty = work.facts.lines / fresh(run_alone, work, 0.0).cpu_s
    expected = fresh(outputs, work)
    found: dict[str, object] = {
        "workload": size._asdict(),
        "flockiq": {
            "events_per_cpu_s": round(ours),
            "events_per_cpu_s_with_all_rules": round(fifty),
            "outputs_equal": True,
            **expected,
        },
    }
    for name, file_lines in (("bytewax", work.facts.lines), ("pyspark", MICRO_BATCH)):
        if lacks := missing(name):
            say(f"peers: {name} is skipped: {lacks}")
            found[name] = {"skipped": lacks}
            continue
        say(f"peers: the same in {name}")
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            write_plain(work, Path(folder) / "events", file_lines)
            cpu_s, given = run_peer(f"with_{name}.py", Path(folder), str(Path(folder) / "events"))
        rate = work.facts.lines / cpu_s
        found[name] = {
            "events_per_cpu_s": round(rate),
            "times_slower": round(ours / rate, 1),
            "outputs_equal": given == expected,
            **given,
        }
    return found


def missing(name: str) -> str:
    """What stands in the way of running a peer; nothing if it can run."""
    if not PYTHON.exists():
        return f"it is not installed; {HOW}"
    if subprocess.run([PYTHON, "-c", f"import {name}"], capture_output=True, check=False).returncode:  # noqa: S603 - a name of ours
        return f"it can't be imported; {HOW}"
    if name == "pyspark" and shutil.which("java") is None:
        return "there is no Java; Debian: apt-get install openjdk-17-jre-headless"
    return ""


def outputs(work: Workload) -> dict[str, Any]:
    """What FlockIQ says the job gives, as the peers' count and hash."""
    engine = Engine(plan(_peers_module("job").RULES))
    found: list[tuple[object, ...]] = []
    for bodies in batches(work.timed()):
        for effect in engine.give(bodies).values():
            found += _told(effect, engine)
    given: dict[str, Any] = _peers_module("told").digest(found)
    return given


def _peers_module(name: str) -> Any:
    """A module of the peers that needs nothing of their environment."""
    return importlib.import_module(f"flockiq.bench.peers.{name}")


def _told(effect: Effect, engine: Engine) -> list[tuple[object, ...]]:
    state = engine.types[ENTITY]
    fields, texts, names = state.plan.layout.fields, engine.texts, state.ids.names
    told = effect.deltas
    columns = (told.entity, told.field, told.event, told.old, told.new)
    found: list[tuple[object, ...]] = [
        (
            names[entity],
            fields[number].name,
            texts.text(event),
            *(value_of(fields[number].kind, fields[number].scale, lane, texts) for lane in (old, new)),
        )
        for entity, number, event, old, new in zip(*(column.tolist() for column in columns), strict=True)
    ]
    rules = _peers_module("job").RULES
    changes = {rule: ("fire",) if rule in _STATES else ("fire", "update") for rule in rules}
    return found + [
        (names[step.entity], step.episode.rule, step.at_us)
        for step in effect.steps
        if step.change in changes.get(step.episode.rule, ())
    ]


def write_plain(work: Workload, folder: Path, file_lines: int) -> None:
    """The events as NDJSON files of so many lines each, in the order of their names and of their times."""
    folder.mkdir()
    lines = (line for one in work.timed() for line in wire.unpack(one.body).split(b"\n"))
    for number, some in enumerate(batched(lines, file_lines, strict=False)):
        path = folder / f"{number:05d}.ndjson"
        path.write_bytes(b"\n".join(some) + b"\n")
        os.utime(path, (_FIRST_FILE_S + number, _FIRST_FILE_S + number))


def run_peer(script: str, folder: Path, argument: str) -> tuple[float, dict[str, Any]]:
    """CPU seconds of a peer's whole session between its two words, and its outputs' digest.

    ``folder`` takes its log; ``argument`` says where its input is.
    """
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(  # noqa: S603 - our own script
            [PYTHON, PEERS / script, argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | {"PYSPARK_PYTHON": str(PYTHON), "PYSPARK_DRIVER_PYTHON": str(PYTHON)},
            start_new_session=True,
        ) as peer,
    ):
        if peer.stdin is None or peer.stdout is None:
            raise AssertionError("the pipes were asked for")
        try:
            at = []
            for word in (b"ready\n", b"done\n"):
                for line in peer.stdout:  # whatever else a peer prints is passed over
                    if line == word:
                        break
                else:
                    raise RuntimeError(f"{script} ended early:\n{(folder / 'log').read_text(errors='replace')[-3000:]}")
                at.append(session_cpu_s(peer.pid))
                peer.stdin.write(b"\n")
                peer.stdin.flush()
            given = msgspec.json.decode(peer.stdout.readline())
            peer.stdin.close()
            peer.wait(60)
        finally:
            peer.kill()
    return at[1] - at[0], given


def session_cpu_s(session: int) -> float:
    """CPU seconds of every process of a session, those it has buried included."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            values = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(values[3]) == session:
            ticks += sum(int(one) for one in values[11:15])
    return ticks / _TICKS

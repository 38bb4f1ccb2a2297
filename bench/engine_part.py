"""Part ``engine``: the engine's CPU over the floor's, and what its state costs."""

from __future__ import annotations

import ctypes
import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
import zstandard

from flockiq.bench import floor
from flockiq.bench.agree import Agreement, agreement, effect_counts
from flockiq.bench.engine import Engine
from flockiq.bench.fresh import fresh, resident_bytes, together, wait_until
from flockiq.bench.history import Size
from flockiq.bench.values import T0_US
from flockiq.bench.workload import CACHE, Workload, batches, plan, workload
from flockiq.pipeline.resolved import Resolved
from flockiq.shared import wire
from flockiq.shared.settings import Settings

START_S = 8.0  # for two processes to import everything before they begin together

Say = Callable[[str], None]


class Pass(NamedTuple):
    """One run over a workload: CPU seconds of each, and what came out."""

    lines: int
    unpack_s: float
    decode_s: float
    engine_s: float
    deltas: int
    retracted: int
    steps: int


class Alone(NamedTuple):
    """One run of the engine with nothing beside it in its process."""

    lines: int
    cpu_s: float
    wall_s: float
    peak_rss_mb: float


def engine_part(events: int, reps: int, say: Say) -> dict[str, object]:
    """Every figure of the engine, by key."""
    entities = max(events // 10, 10)
    kinds = {
        "all_changed": Size(events, entities),
        "unchanged_90": Size(events, entities, unchanged=0.9, warm=True),
    }
    found: dict[str, object] = {}
    for name, size in kinds.items():
        say(f"engine, {name}: {events:,} events over {entities:,} entities")
        found[name] = _one(workload(size), size, reps)
    say("engine: two processes over one")
    found["two_processes"] = _two(events // 2, entities // 2)
    say("engine: state")
    found["state"] = _state(entities // 2)
    return found


def _one(work: Workload, size: Size, reps: int) -> dict[str, object]:
    runs = fresh(passes, work, reps)
    alone = fresh(run_alone, work, 0.0)
    small = size._replace(events=min(size.events, 10_000), entities=min(size.entities, 1_000))
    agreed = fresh(_agreement, small)
    with_unpack = median((run.unpack_s + run.decode_s) / run.lines for run in runs)
    bare = median(run.decode_s / run.lines for run in runs)
    engine = median(run.engine_s / run.lines for run in runs)
    return {
        "floor_events_per_cpu_s": round(1 / with_unpack),
        "engine_events_per_cpu_s": round(1 / engine),
        "ratio_to_floor": round(median(run.engine_s / (run.unpack_s + run.decode_s) for run in runs), 2),
        "floor_decode_only_events_per_cpu_s": round(1 / bare),
        "ratio_to_decode_only": round(median(run.engine_s / run.decode_s for run in runs), 2),
        "peak_rss_mb": alone.peak_rss_mb,
        "outputs_equal_reference": agreed.equal,
        "compared": agreed._asdict(),
        "deltas": runs[0].deltas,
        "retracted": runs[0].retracted,
        "alert_steps": runs[0].steps,
        "workload": {**size._asdict(), **msgspec.to_builtins(work.facts)},
        "repetitions": reps,
    }


def _agreement(size: Size) -> Agreement:
    return agreement(workload(size))


def passes(work: Workload, reps: int) -> list[Pass]:
    """Run the floor and the engine over each batch in turn, so that what disturbs one disturbs both."""
    return [_pass(work) for _ in range(reps)]


def _pass(work: Workload) -> Pass:
    engine = Engine(plan())
    for bodies in batches(work.warm()):
        engine.give(bodies)
        engine.committed()
    unpack = decode = process = 0.0
    lines = deltas = retracted = steps = 0
    for bodies in batches(work.timed()):
        begin = time.process_time()
        texts = floor.unpacked(bodies)
        unpacked = time.process_time()
        lines += floor.decoded(texts)
        decoded = time.process_time()
        effects = engine.give(bodies)
        done = time.process_time()
        engine.committed()
        unpack, decode, process = unpack + unpacked - begin, decode + decoded - unpacked, process + done - decoded
        gave = effect_counts(effects)
        deltas, retracted, steps = deltas + gave[0], retracted + gave[1], steps + gave[2]
    if engine.letters:
        raise AssertionError(f"{engine.letters} lines of the workload became dead letters")
    return Pass(lines, unpack, decode, process, deltas, retracted, steps)


def run_alone(work: Workload, begin_at: float, rules: Sequence[str] = ()) -> Alone:
    """The engine alone over a workload, with all rules or some; waits for ``begin_at`` first."""
    engine = Engine(plan(rules))
    for bodies in batches(work.warm()):
        engine.give(bodies)
        engine.committed()
    if begin_at:
        wait_until(begin_at)
    wall, cpu = time.perf_counter(), time.process_time()
    for bodies in batches(work.timed()):
        engine.give(bodies)
        engine.committed()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Alone(work.facts.lines, round(cpu, 3), round(wall, 3), peak_rss_mb())


def peak_rss_mb() -> float:
    """The most memory that this process has held; what ``getrusage`` says may be its parent's."""
    status = Path("/proc/self/status").read_text().splitlines()
    (said,) = (line.split() for line in status if line.startswith("VmHWM:"))
    return round(int(said[1]) / 1024, 1)


def _two(events: int, entities: int) -> dict[str, object]:
    works = [workload(Size(events, entities, seed=seed)) for seed in (7, 8)]
    one = together(run_alone, [(works[0], time.time() + START_S)])[0]
    moment = time.time() + START_S
    two = together(run_alone, [(work, moment) for work in works])
    slowest = max(run.wall_s for run in two)
    return {
        "over_one": round(sum(run.lines for run in two) / slowest / (one.lines / one.wall_s), 2),
        "over_one_by_cpu": round(
            2 * one.cpu_s / one.lines / (sum(r.cpu_s for r in two) / sum(r.lines for r in two)), 2
        ),
        "one_events_per_s": round(one.lines / one.wall_s),
        "two_events_per_s": round(sum(run.lines for run in two) / slowest),
        "events_each": events,
    }


def _state(entities: int) -> dict[str, object]:
    work = workload(Size(2, entities, warm=True, late=0.0, duplicates=0.0))
    one = workload(Size(400, entities, late=0.0, duplicates=0.0, seed=9))
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        snapshot = Path(folder) / "snapshot"
        plain = fresh(_write_snapshot, work, snapshot)
        loaded = fresh(_load, snapshot, one)
    return {"entities": entities, "snapshot_bytes_per_entity": round(plain / entities), **loaded}


def _resolved() -> Resolved:
    """A partition that keeps no late-data history: everything is too old to be replayed."""
    found = Resolved(plan(), Settings(lateness_s=0.0))
    found.load(b"", [])
    return found


def _write_snapshot(work: Workload, path: Path) -> int:
    """Fold the workload and write the partition's snapshot, as a state log keeps it; its plain size."""
    partition = _resolved()
    engine = Engine(plan())
    engine.types, engine.texts = partition.types, partition.texts
    for bodies in batches(work.warm()):
        engine.give(bodies, T0_US)
        engine.committed()
    body = partition.snapshot()
    path.write_bytes(zstandard.ZstdCompressor(level=1).compress(body))
    return len(body)


def _load(path: Path, one: Workload) -> dict[str, object]:
    """Load a snapshot into a process that holds nothing yet; then give it batches of one event."""
    partition = _resolved()
    _trim()
    before = resident_bytes()
    wall, cpu = time.perf_counter(), time.process_time()
    partition.load(zstandard.ZstdDecompressor().decompress(path.read_bytes()), [])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    _trim()
    held = resident_bytes() - before
    entities = sum(len(state.ids) for state in partition.types.values())
    engine = Engine(plan())
    engine.types, engine.texts = partition.types, partition.texts
    wall_of, cpu_of = _singles(engine, one)
    took = sorted(wall_of)
    return {
        "load_s": round(wall, 3),
        "load_cpu_s": round(cpu, 3),
        "bytes_per_entity": round(held / entities),
        "batch_of_one_ms": round(median(took) * 1e3, 2),
        "batch_of_one_cpu_ms": round(median(cpu_of) * 1e3, 2),
        "batch_of_one_p99_ms": round(took[len(took) * 99 // 100] * 1e3, 2),
    }


def _singles(engine: Engine, one: Workload) -> tuple[list[float], list[float]]:
    """Seconds of each batch of one event, by the wall and of CPU; the first quarter is left out."""
    lines = [line for packed in one.timed() for line in wire.unpack(packed.body).split(b"\n")]
    bodies = [event.body for line in lines for event in wire.pack(0, wire.RESOLVED, [line])]
    wall, cpu = [], []
    for body in bodies:
        begin, used = time.perf_counter(), time.process_time()
        engine.give([body])
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - used)
    start = len(bodies) // 4
    return wall[start:], cpu[start:]


def _trim() -> None:
    """Give back what the allocator keeps for later, so that what is resident is in use."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)

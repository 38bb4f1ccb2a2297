"""Part ``capture``: records from a local HTTP service to packed events in the log, over the least it can cost.

The floor is httpx asking for the same pages and msgspec decoding them into typed structs. Each run has a
process of its own; the service has another, which is not counted. dlt extracts a tenth of the records to
local files.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from flockiq.bench.engine_part import Say
from flockiq.bench.extract import captured, floor
from flockiq.bench.fresh import fresh
from flockiq.bench.pages import serving
from flockiq.bench.peers_part import missing, run_peer
from flockiq.bench.workload import CACHE

_MICRO = 1e6


def capture_part(records: int, reps: int, say: Say) -> dict[str, object]:
    """CPU per record of capture and of the floor, memory over ten times the records, and dlt's cost."""
    few = max(records // 10, 1)
    floors: list[float] = []
    captures: list[float] = []
    walls: list[float] = []
    with serving(records) as url:
        for number in range(reps):
            say(f"capture: {records:,} records, {number + 1} of {reps}")
            floors.append(fresh(floor, url).us)
            large, held = fresh(captured, url)
            captures.append(large.us)
            walls.append(large.wall_s)
    with serving(few) as url:
        say(f"capture: {few:,} records, for memory")
        small, expected = fresh(captured, url)
        dlt = _dlt(url, few, expected.told, say)
    over_floor = [one / least for one, least in zip(captures, floors, strict=True)]
    return {
        "records": records,
        "reps": reps,
        "floor_us": round(median(floors), 2),
        "capture_us": round(median(captures), 2),
        "ratio_to_floor": round(median(over_floor), 2),
        "records_per_s": round(records / median(walls)),
        "all_in_the_log": held.records == records,
        "few": few,
        "peak_rss_mb_few": round(small.peak_rss_mb),
        "peak_rss_mb": round(large.peak_rss_mb),
        "memory_growth": round(large.peak_rss_mb / small.peak_rss_mb, 2),
        "dlt": dlt if "skipped" in dlt else {**dlt, "times_slower": round(float(str(dlt["us"])) / median(captures), 1)},
    }


def _dlt(url: str, records: int, expected: dict[str, object], say: Say) -> dict[str, object]:
    """Dlt's CPU per record, and whether it extracted what we did."""
    if lacks := missing("dlt"):
        say(f"capture: dlt is skipped: {lacks}")
        return {"skipped": lacks}
    say(f"capture: {records:,} records in dlt")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        cpu_s, given = run_peer("with_dlt.py", Path(folder), url)
    return {"us": round(cpu_s / records * _MICRO, 1), "outputs_equal": given == expected}

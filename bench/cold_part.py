"""Part ``cold-start``: how large the package is, what importing it costs, and how soon it answers."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import msgspec

from flockiq.bench.engine_part import Say
from flockiq.bench.workload import ROOT
from flockiq.local.package import build

COLD = Path(__file__).parent / "cold.py"
SETTINGS = {"FLOCKIQ_ACCESS": "local", "FLOCKIQ_ADAPTERS": "azure"}


class Started(msgspec.Struct, frozen=True):
    """What one cold start told."""

    import_cpu_s: float
    first_invocation_s: float
    first_invocation_cpu_s: float
    functions: list[str]
    status: str


def cold_part(reps: int, say: Say) -> dict[str, object]:
    """Build the package, start it in new processes, take medians."""
    with tempfile.TemporaryDirectory() as folder:
        package = build(Path(folder) / "flockiq.zip")
        app = Path(folder) / "app"
        with zipfile.ZipFile(package) as zipped:
            zipped.extractall(app)
            sizes = [entry.file_size for entry in zipped.infolist()]
        say(f"cold-start: {len(sizes)} files, starting {reps + 1} times")
        cold_start(app)  # compiles the modules, as Azure's build does
        runs = [cold_start(app) for _ in range(reps)]
        return {
            "package_bytes": package.stat().st_size,
            "package_files": len(sizes),
            "unpacked_bytes": sum(sizes),
            "functions": len(runs[0].functions),
            "import_cpu_s": statistics.median(run.import_cpu_s for run in runs),
            "first_invocation_s": statistics.median(run.first_invocation_s for run in runs),
            "first_invocation_cpu_s": statistics.median(run.first_invocation_cpu_s for run in runs),
        }


def cold_start(app: Path, python: str = sys.executable, **more: str) -> Started:
    """Start the app in a process of its own. RuntimeError, with what it said, if it can't."""
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [python, str(COLD), str(app), str(ROOT)],
        cwd=app,
        env={**_environment(), **SETTINGS, **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise RuntimeError(f"the app does not start:\n{done.stderr[-3000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Started)


def _environment() -> dict[str, str]:
    """This process's environment without settings and paths of the repository."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLOCKIQ_", "PYTHON"))}
    return {**kept, "FLOCKIQ_CAPTURE_SCHEDULE": "0 0 0 1 1 *", "FLOCKIQ_CLOCK_SCHEDULE": "0 0 0 1 1 *"}

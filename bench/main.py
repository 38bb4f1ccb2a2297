"""``make bench``: measure, print a table, write bench/results.json.

A part that is run again replaces its own results and leaves those of the others. Nothing here
judges by exit code: a figure is a fact about a machine, and the table says how it stands.
"""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

import msgspec
from rich.console import Console

from flockiq.bench.azure_part import azure_part
from flockiq.bench.capture_part import capture_part
from flockiq.bench.cold_part import cold_part
from flockiq.bench.engine_part import engine_part
from flockiq.bench.figures import table
from flockiq.bench.growth_part import growth_part
from flockiq.bench.machine import machine
from flockiq.bench.peers_part import peers_part
from flockiq.bench.pipeline_part import pipeline_part

PARTS = ("engine", "peers", "growth", "pipeline", "capture", "cold-start", "azure")
WIDTH = 100  # of what goes to a file
RESULTS = Path(__file__).parent / "results.json"


class Options(argparse.Namespace):
    """What was asked for."""

    only: list[str]
    events: int
    reps: int
    growth_events: int
    peer_events: int
    pipeline_records: int
    capture_records: int
    azure_records: int
    results: Path


def parsed(arguments: list[str] | None = None) -> Options:
    """The command line; argparse ends the process with a message if it is wrong."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, default=[], help="this part only; may be repeated")
    parser.add_argument(
        "--events", type=int, default=1_000_000, help="of the engine's workloads, over a tenth entities"
    )
    parser.add_argument("--reps", type=int, default=3, help="repetitions; medians are reported")
    parser.add_argument(
        "--growth-events", type=int, default=1_000_000, help="of growth's smaller run; ten times as many in the larger"
    )
    parser.add_argument("--peer-events", type=int, default=100_000, help="of the job that all engines do")
    parser.add_argument("--pipeline-records", type=int, default=200_000, help="records through the whole pipeline")
    parser.add_argument(
        "--capture-records", type=int, default=1_000_000, help="records captured; a tenth of them also in dlt"
    )
    parser.add_argument(
        "--azure-records",
        type=int,
        default=200_000,
        help="records sent to Event Hubs packed; a tenth of them one an event, an eighth through the app's functions",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are written")
    return parser.parse_args(arguments, namespace=Options())


def run(options: Options, console: Console) -> dict[str, object]:
    """Measure the parts asked for; what is known now, earlier parts included."""

    def say(text: str) -> None:
        console.print(text, style="dim", highlight=False)

    found: dict[str, object] = {}
    for part in options.only or PARTS:
        began = {"date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), "machine": machine()}
        match part:
            case "engine":
                measured = engine_part(options.events, options.reps, say)
            case "growth":
                measured = growth_part(options.growth_events, say)
            case "capture":
                measured = capture_part(options.capture_records, options.reps, say)
            case "azure":
                measured = azure_part(options.azure_records, options.reps, say)
            case "cold-start":
                measured = cold_part(options.reps, say)
            case "peers":
                measured = peers_part(options.peer_events, say)
            case _:
                measured = pipeline_part(options.pipeline_records, say)
        found = _known(options.results) | {part: began | measured}  # read late: another part may have been written
        options.results.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    return found


def _known(results: Path) -> dict[str, object]:
    """What was measured before."""
    return msgspec.json.decode(results.read_bytes(), type=dict[str, object]) if results.exists() else {}


def main() -> None:
    """Run from the command line."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    options = parsed()
    found = run(options, console)
    console.print(table(found))
    shown = options.results.name if options.results != RESULTS else "bench/results.json"
    console.print(f"written to {shown}", style="dim", highlight=False)


if __name__ == "__main__":
    main()

"""What a million changes cost in Azure, from measured figures and prices with their sources.

Run as ``python -m flockiq.bench.cost``; docs/cost.md quotes it. Prices are in prices.json, what was measured in
measured.json (of the run that docs/performance.md tells of; ``--results FILE`` takes another run's), and what
is neither is named as an assumption here.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any, Final, NamedTuple

HERE: Final = Path(__file__).parent
RATES: Final = (10, 1_000, 100_000)  # changes a second
HUBS: Final = 4  # assumed: a change goes over changes, resolved, entities and deltas, a line of one size each
PARTITIONS: Final = 16  # infra's own
STATES: Final = 2 * PARTITIONS  # state logs: merge_changes and process_resolved
PACKED: Final = 60_000  # bytes of a full event
UNIT_BYTES: Final = 1_000_000  # a throughput unit takes in a second
INSTANCE_GB: Final = 2  # infra's own
ALERT_UNITS: Final = 13  # assumed request units a step: read 1, document 6, history 6
NOTE_UNITS: Final = 7  # assumed request units of noting a partition's progress: read 1, write 6
SERVERLESS_UNITS: Final = 5_000  # request units a second beyond which throughput is provisioned


class Measured(NamedTuple):
    """What the bench found, per change."""

    cpu_s: float
    line_bytes: float
    steps: float


class Cost(NamedTuple):
    """US dollars per million changes; ``appends`` and ``events`` are counts per million."""

    rate: int
    functions: float
    throughput: float
    ingress: float
    cosmos: float
    events: float
    units: float  # request units
    appends: float

    @property
    def total(self) -> float:
        """Of what has a price."""
        return self.functions + self.throughput + self.ingress + self.cosmos


def measured(results: dict[str, Any]) -> Measured:
    """Of the parts ``pipeline`` and ``engine`` of results.json."""
    pipeline = results["pipeline"]
    return Measured(
        pipeline["cpu_us_per_record_app"] / 1e6,
        results["engine"]["all_changed"]["workload"]["body_bytes"],
        pipeline["alerts_stored"] / pipeline["workload"]["lines"],
    )


def cost(rate: int, found: Measured, usd: dict[str, float]) -> Cost:
    """Of a million changes at ``rate`` a second, around the clock.

    An instance is taken to be active all the time, and as many as the CPU needs; a batch that is not full is
    sent once a second and partition.
    """
    seconds = 1_000_000 / rate
    hours = seconds / 3_600
    instances = max(1, math.ceil(rate * found.cpu_s))
    throughput = max(1, math.ceil(HUBS * rate * found.line_bytes / UNIT_BYTES))
    events = HUBS * max(rate * found.line_bytes / PACKED, min(rate, PARTITIONS)) * seconds
    batches = min(2 * rate, STATES)  # a second
    units = rate * found.steps * ALERT_UNITS + batches * NOTE_UNITS  # a second
    if units <= SERVERLESS_UNITS:
        cosmos = units * seconds / 1e6 * usd["cosmos_million"]
    else:
        cosmos = math.ceil(units / 100) * usd["cosmos_100_hour"] * hours
    return Cost(
        rate,
        functions=instances * INSTANCE_GB * seconds * usd["flex_gb_s"],
        throughput=throughput * hours * usd["hub_tu_hour"],
        ingress=events / 1e6 * usd["hub_million"],
        cosmos=cosmos,
        events=events,
        units=units * seconds,
        appends=batches * seconds,
    )


def main(arguments: list[str] | None = None) -> None:
    """Print the tables in Markdown."""
    parser = argparse.ArgumentParser(prog="make cost", description="What a million changes cost in Azure.")
    parser.add_argument("--results", type=Path, help="results.json of a run of make bench, instead of measured.json")
    parser.add_argument("--keep", action="store_true", help="write what it says into measured.json")
    options = parser.parse_args(arguments)
    if options.results:
        found = measured(json.loads(options.results.read_text()))
    else:
        found = Measured(**json.loads((HERE / "measured.json").read_text()))
    if options.keep:
        (HERE / "measured.json").write_text(json.dumps(found._asdict(), indent=2) + "\n")
    prices = json.loads((HERE / "prices.json").read_text())
    usd = {name: float(price["usd"]) for name, price in prices.items()}
    print("| changes a second | Functions | throughput units | ingress | Cosmos DB | priced together |")
    print("|---|---|---|---|---|---|")
    costs = [cost(rate, found, usd) for rate in RATES]
    for one in costs:
        parts = (one.functions, one.throughput, one.ingress, one.cosmos, one.total)
        print(f"| {one.rate:,} | " + " | ".join(f"${part:.4f}" for part in parts) + " |")
    print("\n| changes a second | billed events | request units | appends |\n|---|---|---|---|")
    for one in costs:
        print(f"| {one.rate:,} | {one.events:,.0f} | {one.units:,.0f} | {one.appends:,.0f} |")
    print("\n| price in US dollars | of | source | date |\n|---|---|---|---|")
    for price in prices.values():
        print(f"| {price['usd']:f} | {price['unit']} | {price['source']} | {price['date']} |")


if __name__ == "__main__":
    main()

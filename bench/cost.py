"""What a million changes cost in Azure, from measured figures and prices with their sources.

Run as ``python -m flockiq.bench.cost``; docs/cost.md quotes it. Prices are in prices.json, what was measured in
measured.json (of the runs that docs/performance.md tells of; ``--results FILE`` takes another's), and what is
neither is named as an assumption here.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

HERE: Final = Path(__file__).parent
RATES: Final = (10, 1_000, 100_000)  # changes a second
MILLION: Final = 1_000_000

PARTITIONS: Final[Mapping[str, int]] = {"changes": 16, "resolved": 16, "entities": 4, "deltas": 4}  # infra's own
FOLDED: Final = ("changes", "resolved")  # hubs whose partitions have a state each
UNIT_BYTES: Final = 1_000_000  # a throughput unit takes in a second …
UNIT_EVENTS: Final = 1_000  # … and events. https://learn.microsoft.com/azure/event-hubs/event-hubs-scalability
INSTANCE_GB: Final = 2  # infra's own
STREAMS: Final = 10  # assumed: of the systems that are polled
POLL_S: Final = 60  # assumed: each as often
KEPT_S: Final = 60  # between two looks at hub changes for raw history: a blob and a note for each partition
SERVERLESS_UNITS: Final = 5_000  # request units a second beyond which throughput is provisioned


class Hub(msgspec.Struct, frozen=True):
    """What a change brings to a hub, in full batches."""

    lines: float
    billed_events: float
    bytes: float


class Measured(msgspec.Struct, frozen=True):
    """What the bench found, per change; units are the Cosmos DB peer's."""

    cpu_s: float
    hubs: Mapping[str, Hub]
    commits: float  # in full batches
    steps: float  # of alerts
    units_per_step: float
    units_per_note: float  # of a partition's progress, once a second
    units_per_turn: float  # at a stream that is polled


class Cost(NamedTuple):
    """US dollars per million changes; what is counted for them is per million too."""

    rate: int
    functions: float
    throughput: float
    ingress: float
    cosmos: float
    storage: float
    units_of_throughput: int
    events: float
    units: float  # request units
    appends: float
    executions: float

    @property
    def total(self) -> float:
        """Of what has a price."""
        return self.functions + self.throughput + self.ingress + self.cosmos + self.storage


def measured(results: Mapping[str, Any], known: Measured) -> Measured:
    """Of the parts ``pipeline`` and ``azure`` of results.json; of one that was not run, what is ``known``."""
    cpu_s = results["pipeline"]["cpu_us_per_record_app"] / 1e6 if "pipeline" in results else known.cpu_s
    if "per_million" not in results.get("azure", {}):
        return msgspec.structs.replace(known, cpu_s=cpu_s)
    million = results["azure"]["per_million"]
    return Measured(
        cpu_s=cpu_s,
        hubs={
            name: Hub(hub["lines"] / MILLION, hub["billed_events"] / MILLION, hub["mb"])
            for name, hub in million["hubs"].items()
        },
        commits=million["appends"] / MILLION,
        steps=million["alert_steps"] / MILLION,
        units_per_step=results["azure"]["alerts"]["units_per_step"],
        units_per_note=million["units_per_note"],
        units_per_turn=million["units_per_turn"],
    )


def cost(rate: int, found: Measured, usd: Mapping[str, float]) -> Cost:
    """Of a million changes at ``rate`` a second, around the clock.

    An instance is taken to be active all the time, and as many as the CPU needs. A batch that is not full is sent,
    folded and committed once a second and partition.
    """
    seconds = MILLION / rate
    hours = seconds / 3_600
    instances = max(1, math.ceil(rate * found.cpu_s))
    events = sum(
        max(rate * hub.billed_events, min(rate * hub.lines, PARTITIONS[name])) for name, hub in found.hubs.items()
    )
    ingress = rate * sum(hub.bytes for hub in found.hubs.values())
    throughput = max(1, math.ceil(ingress / UNIT_BYTES), math.ceil(events / UNIT_EVENTS))
    each_second = sum(min(rate * found.hubs[hub].lines, PARTITIONS[hub]) for hub in FOLDED)
    batches = max(rate * found.commits, each_second)
    notes = min(batches, sum(PARTITIONS[hub] for hub in FOLDED))
    turns = STREAMS / POLL_S
    kept = min(rate, PARTITIONS["changes"] / KEPT_S)
    units = rate * found.steps * found.units_per_step + turns * found.units_per_turn
    units += (notes + kept) * found.units_per_note
    if units <= SERVERLESS_UNITS:
        cosmos = units * seconds / MILLION * usd["cosmos_million"]
    else:
        cosmos = math.ceil(units / 100) * usd["cosmos_100_hour"] * hours
    appends = batches * seconds  # and as many checkpoints of the host
    executions = (batches + turns) * seconds
    return Cost(
        rate,
        functions=instances * INSTANCE_GB * seconds * usd["flex_gb_s"] + executions / MILLION * usd["flex_million"],
        throughput=throughput * hours * usd["hub_tu_hour"],
        ingress=events * seconds / MILLION * usd["hub_million"],
        cosmos=cosmos,
        storage=(
            (appends + kept * seconds) / 10_000 * usd["blob_10k_writes"] + appends / 10_000 * usd["blob_10k_others"]
        ),
        units_of_throughput=throughput,
        events=events * seconds,
        units=units * seconds,
        appends=appends,
        executions=executions,
    )


def main(arguments: list[str] | None = None) -> None:
    """Print the tables in Markdown."""
    parser = argparse.ArgumentParser(prog="make cost", description="What a million changes cost in Azure.")
    parser.add_argument("--results", type=Path, help="results.json of a run of make bench, instead of measured.json")
    parser.add_argument("--keep", action="store_true", help="write what it says into measured.json")
    options = parser.parse_args(arguments)
    kept = HERE / "measured.json"
    found = msgspec.json.decode(kept.read_bytes(), type=Measured)
    if options.results:
        found = measured(msgspec.json.decode(options.results.read_bytes()), found)
    if options.keep:
        kept.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    prices = msgspec.json.decode((HERE / "prices.json").read_bytes())
    costs = [cost(rate, found, {name: float(price["usd"]) for name, price in prices.items()}) for rate in RATES]
    print("| changes a second | Functions | throughput units | ingress | Cosmos DB | storage | priced together |")
    print("|---|---|---|---|---|---|---|")
    for one in costs:
        parts = (one.functions, one.throughput, one.ingress, one.cosmos, one.storage, one.total)
        print(f"| {one.rate:,} | " + " | ".join(f"${part:.4f}" for part in parts) + " |")
    print("\n| changes a second | throughput units | billed events | request units | appends | executions |")
    print("|---|---|---|---|---|---|")
    for one in costs:
        counts = (one.units_of_throughput, one.events, one.units, one.appends, one.executions)
        print(f"| {one.rate:,} | " + " | ".join(f"{count:,.0f}" for count in counts) + " |")
    print("\n| price in US dollars | of | source | date |\n|---|---|---|---|")
    for price in prices.values():
        print(f"| {price['usd']:f} | {price['unit']} | {price['source']} | {price['date']} |")


if __name__ == "__main__":
    main()

"""What is required of each figure, what is aimed at, and the table that says how it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from rich.table import Table


class Figure(NamedTuple):
    """One line of the table; ``path`` leads to its value in results.json."""

    part: str
    path: tuple[str, ...]
    name: str
    sense: Literal["most", "least"]
    required: float
    aimed: float | None = None
    unit: str = ""

    def met(self, value: float, limit: float) -> bool:
        """Whether a value is within a limit."""
        return value <= limit if self.sense == "most" else value >= limit


NOT_RUN = "not run"

FIGURES: Sequence[Figure] = (
    Figure("engine", ("all_changed", "ratio_to_floor"), "engine over the floor", "most", 3, 2, "x"),
    Figure("engine", ("unchanged_90", "ratio_to_floor"), "the same, 90 % unchanged", "most", 2.5, 1.3, "x"),
    Figure("peers", ("bytewax", "times_slower"), "Bytewax: FlockIQ is faster by", "least", 8, 15, "x"),
    Figure("peers", ("pyspark", "times_slower"), "PySpark: FlockIQ is faster by", "least", 8, 15, "x"),
    Figure("engine", ("two_processes", "over_one"), "two processes over one", "least", 1.7, None, "x"),
    Figure("growth", ("cost_ratio",), "cost per event, ten times as much", "most", 1.3, None, "x"),
    Figure("engine", ("state", "bytes_per_entity"), "memory per entity", "most", 1_500, 800, "B"),
    Figure("engine", ("state", "batch_of_one_ms"), "a batch of one event", "most", 5, 1, "ms"),
    Figure("engine", ("state", "load_s"), "loading a partition's state", "most", 1, 0.2, "s"),
    Figure("pipeline", ("records_per_s",), "the whole pipeline, records", "least", 40_000, 100_000, "/s"),
    Figure("pipeline", ("p99_ms",), "its p99 at half that load", "most", 1_000, 200, "ms"),
    Figure("capture", ("ratio_to_floor",), "capture over the floor", "most", 4, 2.5, "x"),
    Figure("capture", ("memory_growth",), "its memory, ten times as much", "most", 1.3, 1.1, "x"),
    Figure("azure", ("packed", "send_records_per_cpu_s"), "Event Hubs: sent packed", "least", 100_000, None, "/CPU s"),
    Figure("azure", ("packed", "receive_records_per_cpu_s"), "received packed", "least", 100_000, None, "/CPU s"),
    Figure("azure", ("send_times",), "sent, over a record an event", "least", 15, None, "x"),
    Figure("azure", ("receive_times",), "received, over a record an event", "least", 15, None, "x"),
    Figure("cold-start", ("import_cpu_s",), "importing the app, CPU", "most", 1.5, 0.7, "s"),
)


def value_at(found: Mapping[str, Any], figure: Figure) -> float | None:
    """A figure's value in results, or None if its part has not been run or could not be."""
    at: Any = found.get(figure.part, {})
    for key in figure.path:
        at = at.get(key) if isinstance(at, Mapping) else None
    return float(at) if isinstance(at, int | float) else None


def _lacks(one: object) -> str:
    """Why a part, or a peer in it, was left out; "" if it was not."""
    return str(one.get("skipped", "")) if isinstance(one, Mapping) else ""


def table(found: Mapping[str, Any]) -> Table:
    """Every figure that was measured, with what is required and aimed at; of peers that were not run, why."""
    drawn = Table(title="FlockIQ bench", title_justify="left")
    for column in ("part", "figure"):
        drawn.add_column(column)
    for column in ("measured", "required", "aimed at"):
        drawn.add_column(column, justify="right")
    drawn.add_column("")
    for figure in FIGURES:
        value, lacks = value_at(found, figure), _lacks(found.get(figure.part, {}).get(figure.path[0]))
        if value is None and not lacks:
            continue
        sign = "≤" if figure.sense == "most" else "≥"
        aimed = "" if figure.aimed is None else f"{sign} {_shown(figure.aimed, figure.unit)}"
        drawn.add_row(
            figure.part,
            figure.name if value is not None else f"{figure.name.partition(':')[0]}: {lacks}",
            _shown(value, figure.unit) if value is not None else NOT_RUN,
            f"{sign} {_shown(figure.required, figure.unit)}",
            aimed,
            _verdict(figure, value) if value is not None else "",
        )
    for part, key, name in (
        ("engine", "all_changed", "all changed"),
        ("engine", "unchanged_90", "90 % unchanged"),
    ):
        one = found.get(part, {}).get(key)
        if one:
            drawn.add_section()
            drawn.add_row(
                part, f"{name}: floor, events per CPU second", f"{one['floor_events_per_cpu_s']:,}", "", "", ""
            )
            drawn.add_row("", f"{name}: engine", f"{one['engine_events_per_cpu_s']:,}", "", "", "")
            drawn.add_row("", f"{name}: peak memory, MB", f"{one['peak_rss_mb']:,.0f}", "", "", "")
            drawn.add_row(
                "", f"{name}: outputs equal the reference's", _yes(one["outputs_equal_reference"]), "", "", ""
            )
    _peers(drawn, found.get("peers", {}))
    _pipeline(drawn, found.get("pipeline", {}))
    _capture(drawn, found.get("capture", {}))
    _azure(drawn, found.get("azure", {}))
    _cold_start(drawn, found.get("cold-start", {}))
    return drawn


def _pipeline(drawn: Table, one: Mapping[str, Any]) -> None:
    if "records_per_s_with_history" not in one:
        return
    drawn.add_section()
    for name, text in (
        ("records, until the history shows them", f"{one['records_per_s_with_history']:,} /s"),
        ("the app's CPU a record", f"{one['cpu_us_per_record_app']:,.1f} µs"),
        ("p50 at half that load", f"{one['p50_ms']:,} ms"),
    ):
        drawn.add_row("pipeline", name, text, "", "", "")
    for hop, took in one.get("hops", {}).items():
        text = f"{took['p50_ms']:,.0f}, {took['p99_ms']:,.0f} ms"
        drawn.add_row("", f"of it, until {hop}: p50, p99", text, "", "", "")


def _azure(drawn: Table, one: Mapping[str, Any]) -> None:
    if "packed" not in one:
        return
    drawn.add_section()
    state, alerts, million = one["state"], one["alerts"], one["per_million"]
    each = one["record_an_event"]
    for name, text in (
        ("a record an event: sent", f"{each['send_records_per_cpu_s']:,} /CPU s"),
        ("a record an event: received", f"{each['receive_records_per_cpu_s']:,} /CPU s"),
        ("state committed, records", f"{state['commit_records_per_cpu_s']:,} /CPU s"),
        (f"CPU of a commit of {state['bytes_per_commit']:,} bytes", f"{state['append_cpu_ms']:,.1f} ms"),
        ("state loaded, records", f"{state['load_records_per_cpu_s']:,} /CPU s"),
        ("alert steps told", f"{alerts['steps_per_cpu_s']:,} /CPU s"),
        ("request units a step (the peer's)", f"{alerts['units_per_step']:,.1f}"),
        ("million records: billed events", f"{million['billed_events']:,}"),
        ("million records, one an event: billed", f"{million['billed_events_record_an_event']:,}"),
        ("million records: ingress", f"{million['ingress_mb']:,.0f} MB"),
        (f"million records: alert units, {million['alert_steps']:,} steps", f"{million['alert_units']:,}"),
        (
            "the peers' CPU: packed, one an event",
            f"{one['packed']['peer_us_per_record']:,.1f}, {each['peer_us_per_record']:,.0f} µs",
        ),
    ):
        drawn.add_row("azure", name, text, "", "", "")


def _capture(drawn: Table, one: Mapping[str, Any]) -> None:
    if not one:
        return
    drawn.add_section()
    for name, text in (
        ("floor, CPU a record", f"{one['floor_us']:,.1f} µs"),
        ("capture, CPU a record", f"{one['capture_us']:,.1f} µs"),
        ("records a second", f"{one['records_per_s']:,}"),
        (f"peak memory, {one['few']:,} records", f"{one['peak_rss_mb_few']:,} MB"),
        (f"peak memory, {one['records']:,} records", f"{one['peak_rss_mb']:,} MB"),
        ("every record in the log", _yes(one["all_in_the_log"])),
    ):
        drawn.add_row("capture", name, text, "", "", "")
    dlt = one["dlt"]
    if "us" in dlt:
        drawn.add_row(
            "", f"dlt, CPU a record ({dlt['times_slower']:,.1f} times ours)", f"{dlt['us']:,.1f} µs", "", "", ""
        )
        drawn.add_row("", "dlt: outputs equal", _yes(dlt["outputs_equal"]), "", "", "")
    elif lacks := _lacks(dlt):
        drawn.add_row("", f"dlt: {lacks}", NOT_RUN, "", "", "")


def _cold_start(drawn: Table, one: Mapping[str, Any]) -> None:
    if not one:
        return
    drawn.add_section()
    for name, text in (
        ("package, zipped", f"{one['package_bytes'] / 1e6:,.2f} MB"),
        (f"package, {one['package_files']:,} files", f"{one['unpacked_bytes'] / 1e6:,.2f} MB"),
        ("functions indexed", f"{one['functions']}"),
        ("time to the first invocation", f"{one['first_invocation_s']:,.2f} s"),
        ("its CPU", f"{one['first_invocation_cpu_s']:,.2f} s"),
    ):
        drawn.add_row("cold-start", name, text, "", "", "")


def _peers(drawn: Table, peers: Mapping[str, Any]) -> None:
    for name in ("flockiq", "bytewax", "pyspark"):
        one = peers.get(name)
        if isinstance(one, Mapping) and "events_per_cpu_s" in one:
            drawn.add_section()
            drawn.add_row("peers", f"{name}: events per CPU second", f"{one['events_per_cpu_s']:,}", "", "", "")
            drawn.add_row("", f"{name}: outputs equal", _yes(one["outputs_equal"]), "", "", "")


def _shown(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
    return f"{text} {unit}".rstrip()


def _verdict(figure: Figure, value: float) -> str:
    if figure.aimed is not None and figure.met(value, figure.aimed):
        return "as aimed"
    if figure.met(value, figure.required):
        return "met"
    times = value / figure.required if figure.sense == "most" else figure.required / max(value, 1e-9)
    return f"short by {times:.1f} x"


def _yes(value: object) -> str:
    return "yes" if value is True else "NO"

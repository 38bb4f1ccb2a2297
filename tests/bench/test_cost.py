"""What a million changes cost."""

from __future__ import annotations

import json

import msgspec
import pytest

from flockiq.bench import cost
from flockiq.bench.cost import Hub, Measured

USD = {
    "flex_gb_s": 1.0,
    "flex_million": 1.0,
    "hub_tu_hour": 3_600.0,
    "hub_million": 1.0,
    "cosmos_million": 1.0,
    "cosmos_100_hour": 3_600.0,
    "blob_10k_writes": 1.0,
    "blob_10k_others": 0.5,
}
FOUND = Measured(
    cpu_s=0.0025,
    hubs={"changes": Hub(1, 0.002, 600), "resolved": Hub(0.01, 0.0001, 1_800)},
    commits=0.0005,
    steps=0.01,
    units_per_step=13,
    units_per_note=7,
    units_per_turn=60,
)


def test_each_part_is_what_its_figures_say() -> None:
    """A thousand changes a second for a thousand seconds, at prices that make the sums plain."""
    one = cost.cost(1_000, FOUND, USD)
    assert one.units_of_throughput == 3  # 2.4 MB/s
    assert one.throughput == 3 * 1_000
    assert one.events == (16 + 10) * 1_000  # batches that are not full go once a second and partition, or as lines come
    kept = 1_000 * 16 / 60  # blobs of raw history, each with a note
    assert one.units == pytest.approx((10 * 13 + 26 * 7 + 10) * 1_000 + kept * 7)  # ten streams a minute
    assert one.cosmos == pytest.approx(one.units / 1e6)
    assert one.appends == 26_000
    assert one.storage == pytest.approx(2.6 + 1.3 + kept / 10_000)
    assert one.executions == pytest.approx(26_000 + 1_000 / 6)
    assert one.functions == pytest.approx(3 * 2 * 1_000 + one.executions / 1e6)  # 2.5 cores, 2 GB each


def test_full_batches_are_counted_as_they_were_measured() -> None:
    """At a hundred thousand a second no event and no commit leaves before it is full."""
    one = cost.cost(100_000, FOUND, USD)
    assert one.events == pytest.approx((200 + 16) * 10)
    assert one.appends == pytest.approx(50 * 10)


def test_throughput_units_are_needed_for_events_as_well_as_for_bytes() -> None:
    """A unit takes in a megabyte or a thousand events a second, whichever comes first."""
    hubs = {"changes": Hub(1, 1, 1), "resolved": Hub(0, 0, 0)}
    small = Measured(0.001, hubs, 0, 0, 0, 0, 0)
    assert cost.cost(2_500, small, USD).units_of_throughput == 3


def test_throughput_is_provisioned_beyond_what_serverless_gives() -> None:
    """A step for every change is more than five thousand request units a second."""
    one = cost.cost(1_000, Measured(0.001, FOUND.hubs, 0, 1, 13, 0, 0), USD)
    assert one.cosmos == 130 * 1_000


def test_a_part_that_was_not_run_keeps_what_is_known() -> None:
    """Figures come from the parts of a bench that were run; the others stay as they were."""
    assert cost.measured({"pipeline": {"cpu_us_per_record_app": 50}}, FOUND) == msgspec.structs.replace(
        FOUND, cpu_s=5e-5
    )
    million = {"hubs": {"changes": {"lines": 2e6, "billed_events": 3_000, "mb": 80.0}}, "appends": 300}
    million |= {"alert_steps": 9_000, "units_per_note": 12, "units_per_turn": 34}
    found = cost.measured({"azure": {"per_million": million, "alerts": {"units_per_step": 11}}}, FOUND)
    assert found == Measured(FOUND.cpu_s, {"changes": Hub(2, 0.003, 80)}, 0.0003, 0.009, 11, 12, 34)


def test_the_page_says_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """Every line of it is in docs/cost.md, and every price has a source and a date."""
    cost.main([])
    page = (cost.HERE.parent / "docs/cost.md").read_text()
    for line in filter(None, capsys.readouterr().out.splitlines()):
        assert line in page
    prices = json.loads((cost.HERE / "prices.json").read_text())
    assert all(price["source"] and price["date"] for price in prices.values())

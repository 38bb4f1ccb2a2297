"""What a million changes cost."""

from __future__ import annotations

import json

import pytest

from flockiq.bench import cost

USD = {"flex_gb_s": 1.0, "hub_tu_hour": 3_600.0, "hub_million": 1.0, "cosmos_million": 1.0, "cosmos_100_hour": 3_600.0}


def test_each_part_is_what_its_figures_say() -> None:
    """A thousand changes a second for a thousand seconds, at prices that make the sums plain."""
    one = cost.cost(1_000, cost.Measured(cpu_s=0.0025, line_bytes=600, steps=0.01), USD)
    assert one.functions == 3 * 2 * 1_000  # 2.5 cores, 2 GB each
    assert one.throughput == 3 * 1_000  # 2.4 MB/s
    assert one.events == 4 * 16 * 1_000  # batches that are not full go once a second and partition
    assert one.units == (10 * 13 + 32 * 7) * 1_000
    assert one.cosmos == one.units / 1e6
    assert one.appends == 32_000


def test_throughput_is_provisioned_beyond_what_serverless_gives() -> None:
    """A step for every change is more than five thousand request units a second."""
    one = cost.cost(1_000, cost.Measured(0.001, 100, 1), USD)
    assert one.cosmos == 133 * 1_000  # 13,224 request units a second, by the hundred


def test_the_page_says_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """Every line of it is in docs/cost.md, and every price has a source and a date."""
    cost.main([])
    page = (cost.HERE.parent / "docs/cost.md").read_text()
    for line in filter(None, capsys.readouterr().out.splitlines()):
        assert line in page
    prices = json.loads((cost.HERE / "prices.json").read_text())
    assert all(price["source"] and price["date"] for price in prices.values())

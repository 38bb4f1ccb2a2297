"""One whole run: every planted event is found, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.run.app import free_port, running


@pytest.mark.timeout(240)
async def test_a_run_of_a_minute_tells_the_whole_story_and_nothing_else(tmp_path: Path) -> None:
    """The main job, from sample systems to alerts, as ``make run`` does it."""
    summary = tmp_path / "out.json"
    arguments = ("--duration", "60", "--summary", str(summary), "--seed", "20261123")
    async with running(tmp_path / "data", free_port(), *arguments) as app:
        code = await app.wait()
    said = (tmp_path / "data" / "out.log").read_text()
    assert code == 0, said
    told = json.loads(summary.read_text())
    assert told["story"]["planted"] == told["story"]["found"] >= 5, said
    assert (told["story"]["missed"], told["story"]["unexpected"], told["dead_letters"]) == (0, 0, 0), said
    assert set(told["captured"]) == {"bureau", "crm", "erp", "marketing"}
    assert all(told["captured"].values())
    assert told["entities"] > 20_000
    assert told["deltas"] > 100_000
    assert {rule for rule, counts in told["alerts"].items() if sum(counts.values())} == {
        "credit-limit-halved",
        "deleted-with-open-invoices",
        "feed-silent",
        "order-unusual",
        "payment-terms-disagree",
    }
    assert told["runtime"]["name"] == "azure-functions-runtime"
    assert all(
        calls["invocations"] and not calls["failures"] for name, calls in told["functions"].items() if name != "health"
    )

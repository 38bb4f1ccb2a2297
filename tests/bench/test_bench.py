"""The benchmark measures what it says: its workload, its keys, and outputs that equal the reference's."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from flockiq.bench import agree, azure_part, pages, peers_part, workload
from flockiq.bench.capture_part import capture_part
from flockiq.bench.engine_part import engine_part
from flockiq.bench.extract import Page
from flockiq.bench.figures import FIGURES, table, value_at
from flockiq.bench.history import Size
from flockiq.bench.hops import HOPS
from flockiq.bench.main import parsed, run
from flockiq.bench.peers.job import Account
from flockiq.bench.peers.told import digest
from flockiq.bench.pipeline_part import pipeline_part
from flockiq.bench.steps import TIMED
from flockiq.shared import wire

SMALL = Size(1_200, 120)
POLLED = Size(1_200, 120, unchanged=0.9, warm=True)


def silent(_: str) -> None:
    """Say nothing."""


def lines(work: workload.Workload) -> list[bytes]:
    """The measured lines of a workload."""
    return [line for one in work.timed() for line in wire.unpack(one.body).split(b"\n")]


def test_the_same_size_gives_the_same_bytes(tmp_path: Path) -> None:
    """A result can be repeated: nothing but size and seed decides what is measured."""
    one, other = (
        workload.workload(SMALL, cache_folder=tmp_path / "a"),
        workload.workload(SMALL, cache_folder=tmp_path / "b"),
    )
    assert lines(one) == lines(other)
    assert lines(workload.workload(SMALL._replace(seed=8), cache_folder=tmp_path / "a")) != lines(one)


def test_a_workload_is_made_once(tmp_path: Path) -> None:
    """A workload on disk is read, not made again."""
    made = workload.workload(SMALL, cache_folder=tmp_path)
    before = made.path.with_suffix(".timed").stat().st_mtime_ns
    assert workload.workload(SMALL, cache_folder=tmp_path).path.with_suffix(".timed").stat().st_mtime_ns == before


def test_the_workload_is_what_its_size_says(tmp_path: Path) -> None:
    """Repetitions, events out of order and unchanged records come as often as asked for."""
    facts = workload.workload(Size(20_000, 2_000), cache_folder=tmp_path).facts
    assert facts.duplicates / facts.lines == pytest.approx(0.05, abs=0.01)
    assert facts.out_of_order / facts.lines == pytest.approx(0.045, abs=0.01)
    assert facts.unchanged_share == 0
    polled = workload.workload(Size(20_000, 2_000, unchanged=0.9, warm=True), cache_folder=tmp_path).facts
    assert polled.unchanged_share == pytest.approx(0.9, abs=0.02)
    assert polled.warm_lines == 4_000


def test_every_kind_of_operation_and_both_sources_take_part(tmp_path: Path) -> None:
    """Whole records, partial updates and deletes come from both systems, with every field."""
    found = [json.loads(line) for line in lines(workload.workload(SMALL, cache_folder=tmp_path))]
    assert {line["data"]["op"] for line in found} == {"r", "u", "d"}
    assert {line["source"] for line in found} == {"crm", "erp"}
    assert {name for line in found for name in line["data"].get("fields", {})} == set(workload.FIELDS)


def test_fifty_rules_of_every_kind_are_watched() -> None:
    """The measured config has fifty rules that are judged record by record, and one that the clock judges."""
    watches = workload.plan()["account"].watches
    assert len(watches) == 50
    assert {watch.kind for watch in watches} == {"threshold", "change", "drift", "anomaly"}
    assert {rule.kind for rule in workload.config().rules.values()} > {"absence"}


@pytest.mark.parametrize("size", [SMALL, POLLED])
def test_the_engines_outputs_equal_the_references(size: Size, tmp_path: Path) -> None:
    """Golden records, effective deltas and open alerts are the same, with late data corrected on the way."""
    found = agree.agreement(workload.workload(size, cache_folder=tmp_path))
    assert found.equal
    assert found.retracted > 0


def test_a_difference_from_the_reference_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the engine and the reference disagree on one kind of value, the comparison says so."""
    monkeypatch.setattr(agree.Reference, "_apart", lambda *_: False)
    assert not agree.agreement(workload.workload(Size(400, 40), cache_folder=tmp_path)).equal


def test_the_engine_part_gives_every_figure_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its results hold the keys that are promised, and the table finds its figures in them."""
    monkeypatch.setattr("flockiq.bench.engine_part.START_S", 3.0)
    found = {"engine": engine_part(800, 1, silent)}
    for kind in ("all_changed", "unchanged_90"):
        one = found["engine"][kind]
        assert isinstance(one, dict)
        assert one["outputs_equal_reference"] is True
        for key in ("floor_events_per_cpu_s", "engine_events_per_cpu_s", "ratio_to_floor", "peak_rss_mb"):
            assert one[key] > 0
    figures = [figure for figure in FIGURES if figure.part == "engine"]
    assert all((value_at(found, figure) or 0) > 0 for figure in figures)
    assert table(found).row_count > len(figures)


def test_the_pipeline_part_measures_the_running_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records go through the real host to stored alerts; throughput, latency and every step are reported."""
    monkeypatch.setattr("flockiq.bench.pipeline_part.PACED_S", 2.0)
    monkeypatch.setattr("flockiq.bench.pipeline_part.AFTER_S", 8.0)  # a busy machine takes its time
    found = pipeline_part(1_500, silent)
    assert float(str(found["records_per_s"])) > 0
    assert float(str(found["p99_ms"])) > 0
    assert 0 < float(str(found["records_per_s_with_history"])) <= float(str(found["records_per_s"]))
    assert found["failures"] == 0
    by_step = found["cpu_us_per_record"]
    assert isinstance(by_step, dict)
    assert {step for step, _, _ in TIMED if "{" not in step} <= by_step.keys()
    assert {"hubs: write", "state logs: write", "alerts: write"} <= by_step.keys()
    assert 0 < by_step["all"] == pytest.approx(sum(by_step.values()) - by_step["all"], abs=0.1 * len(by_step))
    hops = found["hops"]
    assert isinstance(hops, dict)
    assert tuple(hops) == HOPS
    since = [hop["since_p50_ms"] for hop in hops.values()]
    assert since == sorted(since)
    assert table({"pipeline": found}).row_count > 2 + len(HOPS)


def test_the_capture_part_gives_every_figure_of_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every record of a service that runs by itself is in the log, and what that cost is told beside its floor."""
    monkeypatch.setattr(peers_part, "PYTHON", tmp_path / "none")
    said: list[str] = []
    found = {"capture": capture_part(3_500, 1, said.append)}
    assert found["capture"]["all_in_the_log"] is True
    assert found["capture"]["few"] == 350
    assert [line for line in said if "dlt is skipped" in line and "bench/peers/install" in line]
    figures = [figure for figure in FIGURES if figure.part == "capture"]
    assert all((value_at(found, figure) or 0) > 0 for figure in figures)
    assert table(found).row_count > len(figures)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table(found))
    assert "dlt: it is not installed; bench/peers/install puts it there" in console.export_text()


@pytest.mark.timeout(300)  # it mostly waits, the longer the busier the machine is
def test_the_azure_part_gives_every_figure_of_the_table() -> None:
    """Records go to the peers and back, packed and one an event; what is billed for them is counted and told."""
    if lacks := azure_part.missing():
        pytest.skip(lacks)
    found = {"azure": azure_part.azure_part(1_000, 1, silent)}
    one: Any = found["azure"]
    assert one["packed"]["records_per_event"] > 50
    assert one["record_an_event"]["billed_events_per_million"] == 1_000_000
    assert one["per_million"]["billed_events"] < one["per_million"]["billed_events_record_an_event"]
    assert one["alerts"]["units_per_step"] >= 1
    assert one["state"]["appends"] >= 8
    figures = [figure for figure in FIGURES if figure.part == "azure"]
    assert all((value_at(found, figure) or 0) > 0 for figure in figures)
    assert table(found).row_count > len(figures)


def test_without_azurite_the_azure_part_is_skipped_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the emulator of storage is missing, the part says what to run, and the table is drawn without it."""
    monkeypatch.setattr(azure_part, "EMULATOR", tmp_path)
    said: list[str] = []
    found = azure_part.azure_part(10, 1, said.append)
    assert [line for line in said if "tests/peers/storage/emulator/install" in line]
    assert table({"azure": found}).row_count == 0


def test_a_services_records_are_the_same_whoever_asks() -> None:
    """Floor, capture and peers read one and the same text, page after page."""
    first, second = (json.loads(pages.page(number, 1_500)) for number in (0, 1))
    assert [record["id"] for record in first["items"] + second["items"]] == [f"ACC-{n:08d}" for n in range(1_500)]
    assert (first["next"], second["next"]) == ("/records?page=1", None)
    assert pages.page(0, 1_500) == pages.page(0, 1_500)
    assert msgspec.json.decode(pages.page(0, 1_500), type=Page).items[7].id == "ACC-00000007"


def test_the_peers_job_gives_the_outputs_of_flockiq(tmp_path: Path) -> None:
    """What the peers run, run here without them, comes to the same deltas and matches."""
    work = workload.workload(SMALL._replace(late=0.0), cache_folder=tmp_path)
    accounts: dict[str, Account] = {}
    found: list[tuple[object, ...]] = []
    for line in map(json.loads, lines(work)):
        data = line["data"]
        position = (data["ts_us"], data["run"], data["row"])
        account = accounts.setdefault(data["entity_id"], Account())
        found += account.fold(
            data["entity_id"], line["id"], line["source"], data["op"], position, data.get("fields", {})
        )
    assert digest(found) == peers_part.outputs(work)


def test_the_digest_of_outputs_knows_no_order() -> None:
    """Engines may give outputs in any order, and nothing else may differ."""
    outputs = [("a", "name", "e1", None, "x"), ("b", "risk-extreme", 5)]
    assert digest(random.Random(1).sample(outputs, 2)) == digest(outputs)
    assert digest(outputs[:1]) != digest(outputs)


def test_peers_that_are_not_installed_are_skipped_with_the_way_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the peers the part still gives our own figure, and says what to run."""
    monkeypatch.setattr(peers_part, "PYTHON", tmp_path / "none")
    said: list[str] = []
    found = peers_part.peers_part(1_000, said.append)
    assert isinstance(found["flockiq"], dict)
    assert found["flockiq"]["events_per_cpu_s"] > 0
    assert [line for line in said if "bench/peers/install" in line]


def test_the_table_says_which_peers_were_not_run_and_why() -> None:
    """Each in its own row, with the way to get it; a part that nobody asked for has no row."""
    lacks = {"skipped": "it is not installed; bench/peers/install puts it there"}
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table({"peers": {"bytewax": lacks, "pyspark": {"times_slower": 20}}}))
    shown = console.export_text().splitlines()
    (bytewax,) = [line for line in shown if "Bytewax" in line]
    assert "Bytewax: it is not installed; bench/peers/install puts it there" in bytewax
    assert "not run" in bytewax
    assert [line for line in shown if "PySpark" in line and "20 x" in line]
    assert not [line for line in shown if "engine" in line or "capture" in line]


def test_a_part_that_is_run_again_leaves_the_others_results(tmp_path: Path) -> None:
    """results.json grows part by part, each with its date and machine."""
    results = tmp_path / "results.json"
    results.write_text('{"engine": {"kept": true}}')
    options = parsed(["--only", "growth", "--growth-events", "500", "--results", str(results)])
    run(options, Console(quiet=True))
    written = json.loads(results.read_text())
    assert written["engine"] == {"kept": True}
    assert written["growth"]["large"]["events"] == 10 * written["growth"]["small"]["events"]
    assert written["growth"]["cost_ratio"] > 0
    assert written["growth"]["machine"]["cores"] > 0
    assert written["growth"]["date"]

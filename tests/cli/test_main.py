"""The command line itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flockiq.cli.check import SET_BY_RUN
from flockiq.cli.main import data_of, main, parser
from flockiq.local.samples.systems import ADDRESSES

ROOT = Path(__file__).parents[2]


def test_help_tells_every_command() -> None:
    """What there is to know stands in --help."""
    shown = parser().format_help()
    assert "run" in shown
    assert "check" in shown
    assert "kill-test" in shown


def test_defaults_are_those_of_the_documentation() -> None:
    """data, config, port 7071, the data folder's seed, with samples, without end."""
    options = parser().parse_args(["run"])
    assert (options.data, options.config, options.port, options.seed) == (None, Path("config"), 7071, None)
    assert (options.samples, options.duration, options.summary) == (True, None, None)


def test_each_seed_has_a_folder_of_its_own() -> None:
    """Asking for another world does not meet the one that is there; `make clean` takes them all."""
    assert data_of(None) == Path("data")
    assert data_of(7) == Path("data/seed-7")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["run", "--duration", "0"],
        ["run", "--duration", "nan"],
        ["run", "--duration", "soon"],
        ["run", "--port", "70000"],
        ["run", "--port", "-1"],
        ["run", "--seed", "x"],
        ["kill-test", "--kills", "0"],
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Argparse's own exit code for it is 2."""
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2
    said = capsys.readouterr().err
    assert "usage:" in said
    assert " _" not in said, "names of functions mean nothing to whoever typed it"


def test_the_config_that_comes_with_the_app_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    """`check` says so and ends well."""
    assert main(["check", "--config", str(ROOT / "config")]) == 0
    said = capsys.readouterr().out
    assert "valid" in said
    assert "to set before it runs" not in said


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("Entities | wher EntityId == 'x'", "could not parse KQL at 2:"),
        ("Entities | project id = EntityIdentifier", "EntityIdentifier"),
        ("Entites | project id = EntityId", "Entites does not exist"),
        ("Entities | project EntityId", "it gives no column id, which key names; it gives EntityId"),
        ("Entities | where Tenant == tenant | project id = EntityId", ""),
    ],
)
def test_check_runs_the_queries_of_rules(
    query: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over tables that hold nothing: what no table has, or is no KQL, is found before the app runs it."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "odd.kql").write_text(f"declare query_parameters(tenant:string);\n{query}")
    rule = "rules:\n  odd: {severity: info, query: odd.kql, key: [id], every: 1m, title: odd}\n"
    (tmp_path / "rules" / "odd.yaml").write_text(rule)
    assert main(["check", "--config", str(tmp_path)]) == bool(says)
    told = capsys.readouterr().out
    assert (says or "config is valid: 0 sources, 0 entity types, 1 rule") in told
    assert bool(says) == (f"{tmp_path}/rules/odd.kql: rule odd: " in told)


def test_check_says_with_which_line_a_query_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it does not; and what else is wrong with the query is told as well."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "odd.kql").write_text("Entitie | project id = EntityId")
    rule = "rules:\n  odd: {query: odd.kql, key: [id], title: odd}\n"
    (tmp_path / "rules" / "odd.yaml").write_text(rule)
    assert main(["check", "--config", str(tmp_path)]) == 1
    one, other, _ = capsys.readouterr().out.splitlines()
    assert one == (
        f"{tmp_path}/rules/odd.kql: rule odd: the query declares no parameter tenant, which it is given "
        "(begin it with: declare query_parameters(tenant:string);)"
    )
    assert "Entitie does not exist" in other


def test_the_query_in_the_docs_is_right(tmp_path: Path) -> None:
    """As people copy it."""
    (query,) = re.findall(r"```kusto\n(.*?)```", (ROOT / "docs" / "rules.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "negative.kql").write_text(query)
    rule = "rules:\n  negative: {query: negative.kql, key: entity_id, title: odd}\n"
    (tmp_path / "rules" / "negative.yaml").write_text(rule)
    assert main(["check", "--config", str(tmp_path)]) == 0


def test_check_tells_which_settings_are_whose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the sample systems are set by `run`; nobody is asked for them."""
    assert set(SET_BY_RUN) == set(ADDRESSES.values())
    shutil.copytree(ROOT / "config", tmp_path / "config")
    crm = tmp_path / "config" / "sources" / "crm.yaml"
    crm.write_text(crm.read_text().replace("{FLOCKIQ_SAMPLE_CRM_URL}", "{MY_CRM}"))
    assert main(["check", "--config", str(tmp_path / "config")]) == 0
    said = capsys.readouterr().out
    assert "settings to set before it runs: MY_CRM\n" in said
    assert "settings that run sets, unless it is --no-samples: FLOCKIQ_SAMPLE_ERP_URL\n" in said


def test_check_names_every_problem_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two mistakes in two files are two lines, with file and line; nothing is raised."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    for name in ("rules/order.yaml", "sources/bureau.yaml"):
        path = tmp_path / "config" / name
        path.write_text(path.read_text() + "\nunknown_key: 1\n")
    assert main(["check", "--config", str(tmp_path / "config")]) == 1
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert re.search(r"order\.yaml:\d+: ", said)
    assert re.search(r"bureau\.yaml:\d+: ", said)
    assert said.count("unknown_key") == 2


def test_a_kill_test_does_not_throw_away_what_somebody_keeps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It empties its folder at the start; a folder that is no kill test's is refused, and stays as it is."""
    (tmp_path / "analytics.duckdb").write_text("years of history")
    assert main(["kill-test", "--data", str(tmp_path)]) == 1
    assert "--data DIR" in capsys.readouterr().err
    assert (tmp_path / "analytics.duckdb").read_text() == "years of history"


def test_without_the_packages_it_says_which_python_to_use() -> None:
    """A sentence for whoever has not activated .venv, not a traceback."""
    bare = [sys.executable, "-S", "-m", "flockiq", "check"]
    ended = subprocess.run(bare, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - ours
    assert ended.returncode == 1
    assert ".venv/bin/python -m flockiq" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_help_does_not_load_the_app() -> None:
    """`--help` answers at once: host, DuckDB and web framework stay unloaded."""
    script = (
        "import sys; from flockiq.cli.main import parser; parser().format_help();"
        "print([m for m in ('duckdb', 'fastapi', 'numpy', 'rich', 'azure.functions') if m in sys.modules])"
    )
    shown = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"

"""Config as the stages read it: defaults filled in, files joined, equal content equal fingerprints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import flockiq
from flockiq.cli.check import check
from flockiq.shared.cel.kinds import Kind
from flockiq.shared.config import schemas
from flockiq.shared.config.document import parse
from flockiq.shared.config.durations import format_duration, parse_duration
from flockiq.shared.config.entities import EntityFile
from flockiq.shared.config.load import config, load
from flockiq.shared.config.problems import validate
from flockiq.shared.config.rules import RuleFile
from flockiq.shared.config.sources import SourceFile
from flockiq.shared.fields import Field
from flockiq.shared.lateness import Lateness
from tests.config.conftest import Written

ROOT = Path(flockiq.__path__[0])
SECOND = 1_000_000
HOUR = 3600 * SECOND


def test_an_entity_has_a_cascade_and_ranks_for_every_field(written: Written) -> None:
    """What a file leaves out comes from its defaults."""
    written.change(
        "entities/company.yaml",
        "ranks: {default: [erp]}",
        "ranks: {default: [erp], name: []}\n  fields: {name: [longest]}",
    )
    entity = written.load().entities["company"]
    assert entity.fields["limit"] == Field("limit", "decimal", 2)
    assert entity.survivorship["limit"] == ("rank", "recent")
    assert entity.survivorship["name"] == ("longest",)
    assert entity.ranks["limit"] == ("erp",)
    assert entity.ranks["name"] == ()
    assert entity.anomalies["limit"].warm_up == 8
    match = entity.match()
    assert match is not None
    assert match.names == {"tax_id"}


def test_a_rule_has_its_files_labels_and_its_kinds_defaults(written: Written) -> None:
    """A changed field resolves a day later; a rule's own labels win over the file's."""
    written.change("rules/company.yaml", "severity: critical", "severity: critical\n    labels: {team: sales, tier: 1}")
    rules = written.load().rules
    halved, quiet, many = rules["halved"], rules["quiet"], rules["many"]
    assert (halved.kind, halved.entity, halved.fields) == ("change", "company", ("limit",))
    assert (halved.severity, halved.labels) == ("critical", {"team": "sales", "tier": "1"})
    assert halved.resolve_after_us == 24 * HOUR
    assert halved.line == 4
    assert halved.variables["old"] is Kind.DOUBLE
    condition = halved.condition()
    assert condition is not None
    assert condition.names == {"old", "new"}
    assert (quiet.kind, quiet.entity, quiet.source, quiet.stream) == ("absence", "", "erp", "customers")
    assert (quiet.for_us, quiet.severity) == (600 * SECOND, "warning")
    assert (many.kind, many.query, many.key, many.every_us) == ("query", "Entities | count", ("name",), 60 * SECOND)


def test_rules_that_hold_for_a_while_come_first(written: Written) -> None:
    """Their place is a bit of a word, whatever else is watched; feeds are not of an entity type."""
    more = "  z: {when: limit > 1, title: x}\n  a: {change: name, title: x}\n  m: {drift: limit, title: x}\n"
    written.write("rules/more.yaml", f"entity: company\nrules:\n{more}")
    assert [rule.name for rule in written.load().rules_of("company")] == ["m", "z", "a", "halved"]


def test_any_is_written_out(written: Written) -> None:
    """Every field for a change; for a drift those the entity type declares."""
    written.write(
        "rules/any.yaml",
        "entity: company\nrules:\n  a: {change: any, title: '{field} of {name}: {old} to {new}'}\n"
        "  b: {drift: any, title: x}\n  c: {anomaly: any, title: x}\n  d: {change: [limit, name, limit], title: x}\n",
    )
    rules = written.load().rules
    assert rules["a"].fields == ("name", "tax_id", "region", "limit", "since")
    assert rules["b"].fields == ("limit", "name")
    assert rules["c"].fields == ("limit",)
    assert rules["d"].fields == ("limit", "name")


def test_what_is_disabled_is_checked_and_left_out(written: Written) -> None:
    """A disabled source can still be ranked and watched for; a disabled rule can still be wrong."""
    written.change("sources/erp.yaml", "connector", "enabled: false\nconnector")
    written.change("rules/company.yaml", "change: limit", "change: limit\n    enabled: false")
    loaded = written.load()
    assert loaded.sources == {}
    assert loaded.unset == ()
    assert "halved" not in loaded.rules
    written.change("rules/company.yaml", "new <= old", "new <= olt")
    assert written.problems()[0].field == "rules.halved.when"


def test_settings_that_are_not_set_are_named(written: Written) -> None:
    """Loading goes on without them: a source says so when it is read."""
    assert written.load().unset == ("ERP_URL",)
    assert written.load(ERP_URL="https://erp.example").unset == ()


def test_the_fingerprint_follows_what_config_means(written: Written) -> None:
    """Comments and file names make no difference; a threshold, a query and a mapping do."""
    first = written.load().fingerprint
    (written.folder / "rules/company.yaml").rename(written.folder / "rules/renamed.yml")
    written.change("rules/renamed.yml", "entity: company", "# a comment\nentity: company")
    assert written.load().fingerprint == first
    seen = {first}
    for file, old, new in (
        ("rules/renamed.yml", "0.5", "0.6"),
        ("rules/many.kql", "count", "take 1"),
        ("sources/erp.yaml", "CreditLimit", "Credit"),
        ("entities/company.yaml", "0.01", "0.02"),
    ):
        written.change(file, old, new)
        seen.add(written.load().fingerprint)
    assert len(seen) == 5


def test_the_process_reads_its_config_once(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the folder that the settings name."""
    config.cache_clear()
    monkeypatch.setenv("FLOCKIQ_CONFIG", str(written.folder))
    try:
        assert list(config().entities) == ["company"]
        assert config() is config()
    finally:
        config.cache_clear()


def test_the_projects_own_config_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    """And its check says how much there is of it."""
    assert check(ROOT / "config") == 0
    assert capsys.readouterr().out.startswith("config is valid: ")
    loaded = load(ROOT / "config", {})
    assert {"company", "order"} <= loaded.entities.keys()
    assert {rule.kind for rule in loaded.rules.values()} == {
        "threshold",
        "change",
        "drift",
        "anomaly",
        "absence",
        "query",
    }


def test_check_prints_a_problem_a_line(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its file and line, then how many; the exit code says that it failed."""
    written.change("rules/company.yaml", "new <= old", "new <= olt")
    written.change("rules/company.yaml", "many.kql", "none.kql")
    assert check(written.folder) == 1
    *problems, last = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0].rsplit("/", 1)[1] for line in problems] == ["company.yaml:7", "company.yaml:14"]
    assert last.startswith("2 problems in ")


def test_the_committed_schemas_are_the_models_own(tmp_path: Path) -> None:
    """``make schemas`` was not forgotten; and the check would notice."""
    assert schemas.main(["--check"]) == 0
    assert schemas.main([], tmp_path) == 0
    (tmp_path / "rule.schema.json").write_text("{}", "utf-8")
    assert schemas.main(["--check"], tmp_path) == 1
    assert schemas.main(["--chekc"], tmp_path) == 2


def test_every_config_file_names_its_schema() -> None:
    """Editors complete and check what they are told the schema of."""
    kinds = {"sources": "source", "entities": "entity", "rules": "rule"}
    files = [file for folder in kinds for file in (ROOT / "config" / folder).glob("*.yaml")]
    assert files
    for file in files:
        line = file.read_text("utf-8").splitlines()[0]
        assert line == f"# yaml-language-server: $schema=../schemas/{kinds[file.parent.name]}.schema.json", file.name


@given(st.integers(0, 10**12))
def test_a_duration_is_read_back_as_it_is_written(ms: int) -> None:
    """To the millisecond, up to ten years."""
    us = min(ms * 1000, 3660 * 24 * HOUR)
    assert parse_duration(format_duration(us)) == us


@pytest.mark.parametrize(
    ("text", "us"), [("10s", 10 * SECOND), ("1h30m", 5400 * SECOND), ("0s", 0), ("2w", 336 * HOUR)]
)
def test_durations_are_written_with_units(text: str, us: int) -> None:
    """One or several parts."""
    assert parse_duration(text) == us


@pytest.mark.parametrize("text", ["10", "", "s", "-1s", "1.5h", "5 m", "1y", "999999999w", 10, None, True])
def test_what_is_no_duration_is_refused(text: object) -> None:
    """A bare number has no unit, and nobody waits a million years."""
    with pytest.raises(ValueError, match=r"is not a duration|is longer"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("page", "model"),
    [("rules", RuleFile), ("entities", EntityFile), ("sources", SourceFile), ("connectors", SourceFile)],
)
def test_the_examples_of_the_docs_are_right(page: str, model: type[BaseModel]) -> None:
    """What people copy from docs/ is what the models take."""
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text("utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        _, problems = validate(model, parse(example.encode(), f"docs/{page}.md"))
        assert problems == []


def test_a_season_has_a_longer_history_and_a_zone(written: Written) -> None:
    """What is not said fits hourly values over weeks; what is said counts; a zone that is none is refused."""
    written.change("entities/company.yaml", "{by: region}", "{season: hour_of_week}")
    one = written.load().entities["company"].anomalies["limit"]
    assert (one.warm_up, one.alpha, one.clocks) == (168, 0.03, "UTC")
    written.change("entities/company.yaml", "hour_of_week}", "hour_of_week, warm_up: 20, zone: Europe/Berlin}")
    one = written.load().entities["company"].anomalies["limit"]
    assert (one.warm_up, one.alpha, one.clocks) == (20, 0.03, "Europe/Berlin")
    written.change("entities/company.yaml", "Europe/Berlin", "Europe/Atlantis")
    assert "no time zone" in str(written.problems()[0])


def test_a_zone_without_a_season_is_refused(written: Written) -> None:
    """It would do nothing."""
    written.change("entities/company.yaml", "{by: region}", "{zone: UTC}")
    assert "season: hour_of_week" in str(written.problems()[0])


def test_people_set_fields_only_where_a_type_says_so(written: Written) -> None:
    """And no source may have the name that conditions call them by."""
    assert not written.load().entities["company"].overrides
    text = (written.folder / "entities/company.yaml").read_text("utf-8")
    written.write("entities/company.yaml", text + "overrides: true\nlateness: 48h\nversions: 3\n")
    company = written.load().entities["company"]
    assert company.overrides
    assert company.lateness == Lateness(48 * HOUR, 3)
    written.change("sources/erp.yaml", "source: erp", "source: override")
    assert any("rename the source" in str(problem) for problem in written.problems())

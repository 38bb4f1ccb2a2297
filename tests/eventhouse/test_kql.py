"""Every .kql file is KQL that the Eventhouse accepts, by Microsoft's own parser."""

from __future__ import annotations

import json
import re

import pytest

from flockiq.cli.mappings import mappings
from flockiq.shared.tables import read_tables
from tests.eventhouse.conftest import EVENTHOUSE, Check, commands, embedded, schema

SCRIPTS = sorted(EVENTHOUSE.glob("*.kql"))
QUERIES = sorted([*EVENTHOUSE.glob("queries/*.kql"), *EVENTHOUSE.glob("rules/*.kql")])


def columns(table: str) -> list[str]:
    """A table's column names in order."""
    return re.findall(r"(\w+):", schema()[table])


def test_every_query_is_accepted(check: Check) -> None:
    """Queries name tables, columns and functions that exist."""
    problems = check([path.read_text(encoding="utf-8") for path in QUERIES])
    assert {path.name: found for path, found in zip(QUERIES, problems, strict=True) if found} == {}


def test_every_command_is_accepted(check: Check) -> None:
    """Scripts hold commands that exist, each checked by itself, with the queries inside them."""
    texts = [
        text
        for path in SCRIPTS
        for command in commands(path.read_text(encoding="utf-8"))
        for text in (command, *embedded(command))
    ]
    assert len(texts) > len(schema()) * 3
    assert {text: found for text, found in zip(texts, check(texts), strict=True) if found} == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Entitys | count", "Entitys"),
        ("Entities | project Nmae", "Nmae"),
        ("Entities | where startwith(MatchKey, 'a')", "startwith"),
        ("Entities | where", ""),
        (".creat-merge table T (A:string)", "no such command"),
        (".alter table Entities policy streamingestion enable", ""),
    ],
)
def test_mistakes_are_found(check: Check, text: str, says: str) -> None:
    """A misspelled table, column, function or command is a problem: the check can fail."""
    [problems] = check([text])
    assert problems
    assert says in " ".join(problems)


def test_a_mistake_in_a_second_command_is_found(check: Check) -> None:
    """A script is split into its commands, as the parser only reads the first of a text."""
    script = ".create-merge table T (A:string)\n\n.creat table U (A:string)\n"
    assert [bool(found) for found in check(commands(script))] == [False, True]


def test_a_mistake_inside_an_update_policy_is_found(check: Check) -> None:
    """The query in a policy's JSON is checked like any other."""
    policy = json.dumps([{"IsEnabled": True, "Source": "Changes", "Query": "Changes | project Nmae"}])
    assert any(check(embedded(f".alter table Entities policy update @'{policy}'")))


def test_a_database_script_is_one_command() -> None:
    """Lines with a dot inside ``.execute database script`` are part of it."""
    script = (
        ".create-merge table T (A:string)\n\n.execute database script <|\n.create table U (A:string)\n.drop table V\n"
    )
    assert [command.splitlines()[0] for command in commands(script)] == [
        ".create-merge table T (A:string)",
        ".execute database script <|",
    ]


def test_mappings_cover_every_column_of_every_table() -> None:
    """Each table has a JSON mapping of its name, column by column in the table's order."""
    text = (EVENTHOUSE / "mappings.kql").read_text(encoding="utf-8")
    mapped = {
        name: [each["column"] for each in json.loads(body)]
        for table, name, body in re.findall(
            r'table (\w+) ingestion json mapping "(\w+)"\s*```(.*?)```', text, re.DOTALL
        )
        if table == name
    }
    assert mapped == {table: columns(table) for table in schema()}


def test_the_mappings_are_those_of_the_tables() -> None:
    """``make schemas`` would change nothing: whoever adds a column has run it."""
    written = (EVENTHOUSE / "mappings.kql").read_text(encoding="utf-8")
    tables = read_tables(EVENTHOUSE / "tables.kql")
    assert written == mappings(tables)
    assert mappings({**tables, "Changes": {**tables["Changes"], "More": "string"}}) != written


def test_every_table_takes_rows_at_once_and_forgets_in_time() -> None:
    """Streaming ingestion and a retention are set for each table."""
    text = (EVENTHOUSE / "policies.kql").read_text(encoding="utf-8")
    for table in schema():
        assert f".alter table {table} policy streamingingestion enable" in text
        assert f".alter-merge table {table} policy retention softdelete" in text

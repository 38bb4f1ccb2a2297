"""Microsoft's KQL parser, as the tests ask it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

PARSER = Path(__file__).parent / "parser"
EVENTHOUSE = Path(__file__).resolve().parents[2] / "eventhouse"

Check = Callable[[Sequence[str]], list[list[str]]]

_TABLE = re.compile(r"^\.create-merge table (\w+) (\([^)]*\))", re.MULTILINE)
_UPDATE_POLICY = re.compile(r"policy update\s+(?:@?'|```)(.*)(?:'|```)", re.DOTALL)


def schema() -> Mapping[str, str]:
    """{table: "(column:type, …)"} as eventhouse/tables.kql declares them."""
    return dict(_TABLE.findall((EVENTHOUSE / "tables.kql").read_text(encoding="utf-8")))


def commands(script: str) -> list[str]:
    """A script's commands, one text each: the parser ignores a second command in one text.

    Inside ``.execute database script`` further lines that begin with a dot belong to it.
    """
    starts = [found.start() for found in re.finditer(r"^\.", script, re.MULTILINE)]
    for number, start in enumerate(starts):
        if script.startswith(".execute database script", start):
            starts = starts[: number + 1]
            break
    return [script[start:end].strip() for start, end in zip(starts, [*starts[1:], len(script)], strict=True)]


def embedded(command: str) -> list[str]:
    """The queries inside an update policy's JSON, which the parser takes for mere text."""
    policy = _UPDATE_POLICY.search(command)
    return [each["Query"] for each in json.loads(policy[1])] if policy else []


@pytest.fixture(scope="session")
def check() -> Iterator[Check]:
    """Ask the parser: for each text, what is wrong with it, given the tables of tables.kql."""
    if not (shutil.which("node") and (PARSER / "node_modules").is_dir()):
        reason = "needs Microsoft's KQL parser: tests/eventhouse/parser/install gets it (with Node and npm)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)

    command = ["node", str(PARSER / "check.cjs")]
    parser = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")  # noqa: S603 - our own script
    assert parser.stdin
    assert parser.stdout

    def ask(texts: Sequence[str]) -> list[list[str]]:
        parser.stdin.write(json.dumps({"schema": schema(), "texts": list(texts)}) + "\n")
        parser.stdin.flush()
        answer: list[list[str]] = json.loads(parser.stdout.readline())
        return answer

    yield ask
    parser.stdin.close()
    parser.wait(10)
    parser.stdout.close()

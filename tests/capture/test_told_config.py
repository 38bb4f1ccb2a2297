"""What people may write about webhooks, and what they are told of mistakes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flockiq.shared.config.document import parse
from flockiq.shared.config.problems import validate
from flockiq.shared.config.sources import SourceFile
from tests.capture.telling import KEY, SHOP

FILED: dict[str, Any] = {
    "customers": {
        "pattern": "*.csv",
        "format": {"kind": "csv"},
        "primary_key": ["id"],
        "webhook": {},
        "entity": "company",
        "fields": {"name": "name"},
    }
}
MISTAKES = {
    "a webhook for files": ({"connector": "files", "files": {"path": "inbox"}}, "has no use for webhook"),
    "a stream's without the source's": (
        {"webhook": None, "connector": "files", "files": {"path": "inbox"}, "streams": FILED},
        "has no use for webhook",
    ),
    "two places for a key": (
        {"webhook": {"signature": {"kind": "shared_key", "header": "A", "query": "b", **KEY}}},
        "one place for the key",
    ),
    "a subscription elsewhere": (
        {"webhook": {"signature": {"kind": "stripe", **KEY}, "subscription": {}}},
        "business_central",
    ),
    "a pointer that can't be followed": (
        {"streams": {"customers": SHOP["streams"]["customers"] | {"webhook": {"reread": {"get": "x"}}}}},  # type: ignore[index]
        "reread needs a connection",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_webhook_is_named(name: str) -> None:
    """The message says what is wrong or what is allowed."""
    change, said = MISTAKES[name]
    with pytest.raises(ValidationError, match=said):
        SourceFile.model_validate(SHOP | change)


def test_the_examples_in_the_documentation_are_sources() -> None:
    """Every one can be copied into a file as it stands."""
    examples = re.findall(r"```yaml\n(.*?)```", Path("docs/connectors.md").read_text("utf-8"), re.DOTALL)
    assert len(examples) >= 3
    for example in examples:
        source, problems = validate(SourceFile, parse(example.encode(), "docs/connectors.md"))
        assert source is not None, problems

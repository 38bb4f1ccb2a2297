"""The format of config/sources: what is admitted, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flockiq.capture.protocols.registry import PROTOCOLS
from flockiq.shared.config.document import read
from flockiq.shared.config.sources import POLLED, SourceFile

SOURCES = Path("config/sources")
STREAM = {"primary_key": ["id"], "path": "x", "entity": "company", "fields": {"name": "name"}}
HTTP = {"source": "a", "connector": "odata_v4", "connection": {"base_url": "https://a"}, "streams": {"x": STREAM}}


@pytest.mark.parametrize("path", sorted(SOURCES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_source_that_is_shipped_is_valid(path: Path) -> None:
    """And what is polled has a protocol."""
    source = SourceFile.model_validate(read(path).data)
    assert source.polled == (source.connector in PROTOCOLS)


def test_every_polled_connector_has_a_protocol() -> None:
    """The format and the engine name the same ones."""
    assert set(POLLED) == set(PROTOCOLS)


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no connection": ({"connection": None}, "lacks connection"),
    "no use for it": ({"files": {"path": "inbox"}}, "has no use for files"),
    "no path": ({"streams": {"x": STREAM | {"path": ""}}}, "streams.x lacks path"),
    "unknown connector": ({"connector": "odata_v5"}, "odata_v4"),
    "unknown key": ({"evry": "2s"}, "Extra inputs"),
    "no unit": ({"every": "2"}, "not a duration"),
    "bad size": ({"limits": {"page_bytes": "20"}}, "not an amount of data"),
    "bad name": ({"source": "My CRM"}, "pattern"),
    "a password in the file": ({"auth": {"kind": "bearer", "token": "abc"}}, "must name a secret"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(name: str) -> None:
    """The message says what is wrong or what is allowed."""
    change, said = MISTAKES[name]
    with pytest.raises(ValidationError, match=said):
        SourceFile.model_validate(HTTP | change)


def test_every_key_says_what_it_is_for() -> None:
    """Editors show the description of each."""
    schema = SourceFile.model_json_schema()
    models = [schema, *schema["$defs"].values()]
    lacking = [
        (model["title"], name)
        for model in models
        for name, field in model["properties"].items()
        if not field.get("description")
    ]
    assert lacking == []

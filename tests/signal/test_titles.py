"""Titles and the values shown with an alert."""

from __future__ import annotations

import pytest

from flockiq.shared.lanes import ABSENT, NULL, Scalar, Texts, lane_of
from flockiq.shared.layout import Field, Layout
from flockiq.signal.watch import fill, shown_values
from tests.signal.test_episodes import watch


@pytest.mark.parametrize(
    ("value", "text"),
    [("Acme", "Acme"), ("5000.00", "5000.00"), (1234567.891, "1234567.89"), (7, "7"), (None, "-"), ("{b}", "{b}")],
)
def test_a_placeholder_shows_its_value(value: Scalar, text: str) -> None:
    """Numbers that were worked out are rounded; what has no value is a dash; a value is not filled in turn."""
    assert fill("{a}: {a} of {b}", {"a": value, "b": "x"}) == f"{text}: {text} of x"


def test_a_placeholder_without_a_value_is_a_dash() -> None:
    """A title is never missing."""
    assert fill("{name} and {other}", {"name": "Acme"}) == "Acme and -"


def test_the_values_shown_are_canonical_and_only_fields() -> None:
    """Names the rule's kind adds (key, old, score) come from elsewhere; null and unsaid are both null."""
    fields = (Field("name", "string"), Field("limit", "decimal", 2), Field("on", "date"), Field("ok", "boolean"))
    layout = Layout("thing", fields, ("erp",), "", (("recent",),) * 4, ((0,),) * 4)
    texts = Texts()
    golden = [lane_of("string", 0, "Acme", texts), lane_of("decimal", 2, "-0.50", texts), NULL, ABSENT]
    rule = watch()._replace(shown=("name", "limit", "on", "ok", "old", "key"))
    assert shown_values(rule, layout, golden, texts, layout.numbers) == {
        "name": "Acme",
        "limit": "-0.50",
        "on": None,
        "ok": None,
    }

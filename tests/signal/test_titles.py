"""Titles and the values shown with an alert."""

from __future__ import annotations

import numpy as np
import pytest

from flockiq.shared.lanes import ABSENT, NULL, Scalar, Texts, lane_of
from flockiq.shared.layout import Field, Layout
from flockiq.signal.episodes import Episodes
from flockiq.signal.hits import BEGINS, Hits
from flockiq.signal.ruleset import Ruleset
from flockiq.signal.seen import Observed, Seen
from flockiq.signal.told import told
from flockiq.signal.watch import fill
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


def test_the_values_shown_are_canonical_and_only_fields_and_the_key() -> None:
    """Names the rule's kind adds (old, score) come from elsewhere; null and unsaid are both null."""
    fields = (Field("name", "string"), Field("limit", "decimal", 2), Field("on", "date"), Field("ok", "boolean"))
    layout = Layout("thing", fields, ("erp",), "", (("recent",),) * 4, ((0,),) * 4)
    texts, episodes = Texts(), Episodes()
    golden = [lane_of("string", 0, "Acme", texts), lane_of("decimal", 2, "-0.50", texts), NULL, ABSENT]
    rule = watch()._replace(shown=("name", "limit", "on", "ok", "old", "key"))
    one, nothing = np.zeros(1, np.int64), np.zeros(0, np.int64)
    seen = Seen(
        row=one,
        previous=one - 1,
        entity=one,
        us=one,
        event=one,
        key=np.array([texts.lane("things/1")]),
        golden=np.array([golden]),
        fresh=np.ones(1, np.bool_),
        drift=np.zeros((1, 0), np.bool_),
        delta_row=nothing,
        delta_field=nothing,
        delta_old=nothing,
        delta_new=nothing,
        delta_source=nothing,
        observed=Observed.none(),
    )
    begins = Hits(one, one, np.array([BEGINS]), one - 1)
    told(Ruleset([rule], layout), begins, (), seen, episodes, texts)
    (step,) = episodes.taken()
    assert step.episode.values == {"name": "Acme", "limit": "-0.50", "on": None, "ok": None, "key": "things/1"}

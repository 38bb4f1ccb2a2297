"""Money: an amount and its currency are of one source, and amounts in different currencies disagree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flockiq.merge.survivorship import FOLLOWED
from flockiq.pipeline import compiled
from flockiq.pipeline.plans import plans
from flockiq.pipeline.play import play
from flockiq.pipeline.store import chosen_by
from flockiq.pipeline.world import Plan, World
from flockiq.shared.config.load import load
from flockiq.shared.lanes import ABSENT, NULL, Texts, text_lane
from flockiq.shared.layout import Field, Layout, Survival, Tolerance
from flockiq.shared.rows import UPSERT, Rows

FIELDS = Field("amount", "decimal", 2), Field("tax", "decimal", 2), Field("currency", "string")
AMOUNT, TAX, CURRENCY = range(3)
CRM, ERP, PERSON = range(3)
EUR, USD = text_lane("EUR"), text_lane("USD")


def layout(cascade: tuple[Survival, ...] = ("rank",), tolerance: Tolerance | None = None) -> Layout:
    """An amount that one rule decides, and what goes with it, which the most recent would win; ERP is best."""
    return Layout(
        entity="order",
        fields=FIELDS,
        sources=("crm", "erp"),
        partition_by="",
        survivorship=(cascade, ("recent",), ("recent",)),
        ranks=((1, 0),) * len(FIELDS),
        tolerances=(tolerance or Tolerance(AMOUNT),),
        overrides=True,
        currencies=(CURRENCY, CURRENCY, -1),
    )


def told(plan: Layout, *said: tuple[int, dict[int, int]]) -> World:
    """An entity of which one teller after another has said some fields."""
    values = np.full((len(said), len(FIELDS)), ABSENT, np.int64)
    for row, (_, fields) in enumerate(said):
        for field, lane in fields.items():
            values[row, field] = lane
    columns = {name: np.zeros(len(said), np.int64) for name in Rows.names}
    columns |= {"source": np.array([teller for teller, _ in said]), "us": np.arange(len(said)) + 1, "value": values}
    columns["event"] = columns["us"]
    world, texts = World.empty(plan, 1, 1), Texts()
    play(world, Plan(plan, ()), Rows(**columns | {"op": np.full(len(said), UPSERT, np.int8)}), texts)
    return world


@pytest.fixture(autouse=True, params=["off", "wait"])
def mode(request: pytest.FixtureRequest) -> None:
    """By numpy and by machine code."""
    compiled.use(request.param)


def test_the_currency_comes_from_the_source_that_won_the_amount() -> None:
    """Also where another source has said its currency since."""
    world = told(layout(), (ERP, {AMOUNT: 100, TAX: 19, CURRENCY: EUR}), (CRM, {AMOUNT: 120, TAX: 23, CURRENCY: USD}))
    assert world.golden.golden[0].tolist() == [100, 19, EUR]
    assert world.golden.winner[0].tolist() == [ERP, ERP, ERP]
    assert world.golden.rule[0].tolist() == [0, FOLLOWED, FOLLOWED]


def test_a_partial_update_of_the_amount_takes_the_currency_along() -> None:
    """That its source has said before."""
    world = told(
        layout(("recent",)),
        (CRM, {AMOUNT: 100, CURRENCY: EUR}),
        (ERP, {AMOUNT: 110, CURRENCY: USD}),
        (CRM, {AMOUNT: 120}),
    )
    assert world.golden.golden[0].tolist() == [120, ABSENT, EUR]


def test_what_the_winner_does_not_say_is_decided_by_its_own_rules() -> None:
    """And so it is where no amount is known at all."""
    both = (CRM, {AMOUNT: 100, CURRENCY: USD}), (ERP, {AMOUNT: 110, CURRENCY: NULL})
    assert told(layout(), *both).golden.golden[0].tolist() == [110, ABSENT, USD]
    neither = (ERP, {AMOUNT: NULL, CURRENCY: EUR}), (CRM, {CURRENCY: USD})
    assert told(layout(), *neither).golden.golden[0].tolist() == [NULL, ABSENT, USD]


def test_a_person_who_sets_the_amount_alone_leaves_the_currency_to_the_rules() -> None:
    """One who sets the currency as well decides both; one who sets the currency alone decides that."""
    sources = (ERP, {AMOUNT: 100, CURRENCY: EUR}), (CRM, {AMOUNT: 120, CURRENCY: USD})
    assert told(layout(), *sources, (PERSON, {AMOUNT: 90})).golden.golden[0].tolist() == [90, ABSENT, USD]
    gbp = text_lane("GBP")
    person = {AMOUNT: 90, CURRENCY: gbp}
    assert told(layout(), *sources, (PERSON, person)).golden.golden[0].tolist() == [90, ABSENT, gbp]
    assert told(layout(), *sources, (PERSON, {CURRENCY: gbp})).golden.golden[0].tolist() == [100, ABSENT, gbp]


@pytest.mark.parametrize(
    "tolerance", [Tolerance(AMOUNT), Tolerance(AMOUNT, absolute=50.0), Tolerance(AMOUNT, relative=0.5)]
)
def test_the_same_number_in_two_currencies_is_drift(tolerance: Tolerance) -> None:
    """Whatever is tolerated; a source that says no currency is taken at its number."""
    plan = layout(tolerance=tolerance)
    first = (ERP, {AMOUNT: 100, CURRENCY: EUR})
    assert told(plan, first, (CRM, {AMOUNT: 100, CURRENCY: USD})).signs.drift[0].tolist() == [True]
    for other in ({AMOUNT: 100, CURRENCY: EUR}, {AMOUNT: 100}, {AMOUNT: NULL, CURRENCY: USD}, {CURRENCY: USD}):
        assert told(plan, first, (CRM, other)).signs.drift[0].tolist() == [False], other


def test_money_that_config_names_later_is_chosen_and_judged_anew() -> None:
    """State from before says by which rules it was made."""
    money = layout()
    plain = money._replace(currencies=())
    assert chosen_by(money) != chosen_by(plain)
    assert Plan(money, ()).fingerprint != Plan(plain, ()).fingerprint


def test_config_says_which_field_holds_the_currency(tmp_path: Path) -> None:
    """And the amount is decided before it, wherever the two stand."""
    for name, text in {"sources/erp.yaml": ERP_YAML, "entities/order.yaml": ORDER_YAML}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    found = plans(load(tmp_path, {}))["order"].layout
    assert [field.name for field in found.fields] == ["amount", "tax", "currency"]
    assert (found.currencies, found.follows) == ((2, 2, -1), (-1, 0, 0))


ORDER_YAML = """\
entity: order
fields:
  currency: {type: string}
  amount: {type: decimal, currency: currency}
  tax: {type: decimal, currency: currency}
"""
ERP_YAML = """\
source: erp
connector: odata_v2
connection: {base_url: "{ERP_URL}/sap"}
streams:
  orders:
    path: OrderSet
    primary_key: [Order]
    entity: order
    fields: {amount: Amount, tax: Tax, currency: Currency}
"""

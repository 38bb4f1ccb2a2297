"""A source that changes what its records hold: what becomes of it is the stream's to say, and it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from flockiq.capture import columns
from tests.capture.conftest import Ledger, Open
from tests.capture.peers.server import serve
from tests.capture.peers.shop import Shop, orders


@pytest.fixture
async def shop() -> AsyncIterator[tuple[Shop, str]]:
    """Four orders with an amount, and the shop's address."""
    peer = Shop()
    for number in range(1, 5):
        peer.put(number, amount=number * 10)
    async with serve(peer.app) as url:
        yield peer, url


def watched(url: str, on_change: str, **declared: str) -> dict[str, Any]:
    """The shop, with something to say about columns."""
    return orders(url, "offset", columns={"on_change": on_change, "declared": declared})


async def told(it: Any, key: str) -> dict[str, Any]:
    """The last that was told of a record."""
    found = [change for change in await it.changes() if change.data.key == key]
    return dict(msgspec.json.decode(found[-1].data.after))


async def test_an_evolving_stream_takes_what_is_new_and_tells_of_it_once(
    world: Open, shop: tuple[Shop, str], ledger: Ledger
) -> None:
    """A new column and a value of another kind: both arrive, and are known from then on."""
    peer, url = shop
    async with world(watched(url, "evolve")) as it:
        await it.poll()
        assert (await it.status("shop", "orders")).outcome == "read"
        peer.put(1, amount="10 EUR", discount=True)
        await it.poll()
        status = await it.status("shop", "orders")
        assert (status.outcome, status.error) == ("schema_changed", "")
        assert status.schema == "amount is text, and was number; discount is new (boolean)"
        peer.put(2, amount="20 EUR", discount=False)
        await it.poll()
        assert (await it.status("shop", "orders")).outcome == "read"
        assert (await told(it, "1"))["discount"] is True
    runs = [run["Error"] for run in ledger.rows["Runs"] if run["Outcome"] == "schema_changed"]
    assert runs == ["amount is text, and was number; discount is new (boolean)"]


async def test_a_frozen_stream_stops_before_it_tells_anything(world: Open, shop: tuple[Shop, str]) -> None:
    """Nothing of the page is published, and the error says which column and what to do."""
    peer, url = shop
    async with world(watched(url, "freeze")) as it:
        await it.poll()
        peer.put(1, amount=11)
        peer.put(2, amount=20, discount=True)
        await it.poll()
        status = await it.status("shop", "orders")
        assert "column discount is new (boolean)" in status.error
        assert len(await it.changes()) == 4
        peer.put(2, amount=20)
        await it.poll(600)
        assert len(await it.changes()) == 5


async def test_a_discarded_value_leaves_the_rest_of_its_record(world: Open, shop: tuple[Shop, str]) -> None:
    """Neither the new column nor the odd value travels."""
    peer, url = shop
    async with world(watched(url, "discard_value")) as it:
        await it.poll()
        peer.put(1, amount="10 EUR", discount=True, name="Renamed")
        await it.poll()
        after = await told(it, "1")
    assert after["name"] == "Renamed"
    assert not {"amount", "discount"} & set(after)


async def test_a_record_that_does_not_fit_is_set_aside(world: Open, shop: tuple[Shop, str]) -> None:
    """The others go on; the dead letter names the column."""
    peer, url = shop
    async with world(watched(url, "dead_letter", id="number", name="text", updated_at="text", amount="number")) as it:
        await it.poll()
        peer.put(1, amount="10 EUR")
        peer.put(2, amount=21)
        await it.poll()
        letters = await it.letters()
        assert (await told(it, "2"))["amount"] == 21
        assert (await told(it, "1"))["amount"] == 10
    assert [letter["Field"] for letter in letters] == ["amount"]


async def test_null_fits_every_column(world: Open, shop: tuple[Shop, str]) -> None:
    """An empty value is no change of kind."""
    peer, url = shop
    async with world(watched(url, "freeze")) as it:
        await it.poll()
        peer.put(1, amount=None)
        await it.poll()
        assert (await it.status("shop", "orders")).error == ""


async def test_keys_that_are_data_are_no_columns(
    world: Open, shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept of a stream has a bound."""
    monkeypatch.setattr(columns, "MOST", 5)
    peer, url = shop
    peer.put(1, **{f"c{number}": 1 for number in range(6)})
    async with world(watched(url, "evolve")) as it:
        await it.poll()
        assert "over 5 columns" in (await it.status("shop", "orders")).error

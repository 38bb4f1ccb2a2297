"""How a stream's past is cut into slices, and what each connector is asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flockiq.capture.backfill.asking import asked
from flockiq.capture.backfill.plan import AHEAD_US, halves, spans
from flockiq.capture.protocols.phrases import written
from flockiq.capture.seats import spare
from flockiq.shared.backfills import Span
from flockiq.shared.config.backfill import MOST_SLICES, ByIds, ByKey, ByTime, Whole
from flockiq.shared.config.backfilled import way_of
from flockiq.shared.config.sources import SourceFile
from tests.capture.conftest import Open
from tests.capture.past import BY_TIME, Past
from tests.capture.peers.salesforce import Salesforce
from tests.capture.peers.salesforce_bulk import SalesforceBulk
from tests.capture.peers.server import serve
from tests.capture.peers.shop import Shop, orders
from tests.capture.peers.tables import DataversePeer
from tests.capture.test_salesforce import salesforce
from tests.capture.test_salesforce_bulk import bulk

NOW_US = 1_800_000_000_000_000
Source = Callable[..., dict[str, Any]]


def by_time(**more: Any) -> ByTime:
    """Slices of time as YAML would have them."""
    return ByTime.model_validate(BY_TIME | {"start": "", "slice": None} | more)


@given(st.integers(0, NOW_US), st.sampled_from(["", "1969-01-01", "2020-06-01"]), st.sampled_from([None, "1m", "31d"]))
def test_slices_of_time_leave_nothing_out(since_us: int, start: str, length: str | None) -> None:
    """From where it begins to beyond now, each slice begins where the one before it ends, and they are not too many."""
    found = spans(by_time(start=start, slice=length), since_us, NOW_US)
    assert 0 < len(found) <= MOST_SLICES + 2
    assert all(before.until_us == after.since_us for before, after in itertools.pairwise(found))
    assert all(each.since_us < each.until_us for each in found)
    assert found[-1].until_us == NOW_US + AHEAD_US
    if not start:
        assert found[0].since_us == since_us - since_us % 1_000_000
    assert not any(us % 1_000_000 for each in found for us in (each.since_us, each.until_us))


@given(st.integers(0, NOW_US), st.integers(1, 10**15), st.sampled_from(["rfc3339", "epoch_s", "epoch_ms", "date"]))
def test_halves_of_a_time_are_smaller_and_hold_it_all(since_us: int, length: int, form: Any) -> None:
    """As the source is told them, both are smaller; a time too short for that is not cut."""
    span = Span(since_us=since_us, until_us=since_us + length)
    found = halves(by_time(format=form), span)
    if found:
        first, second = found
        assert (first.since_us, second.until_us) == (span.since_us, span.until_us)
        assert first.until_us == second.since_us
        told = [written(us, form) for us in (first.since_us, first.until_us, second.until_us)]
        assert len(set(told)) == 3
    else:
        assert length <= {"date": 2 * 86_400_000_000, "epoch_s": 2_000_000}.get(form, 2_000)


@given(st.lists(st.integers(-(10**12), 10**12), min_size=2, max_size=6, unique=True), st.integers(1, 50))
def test_ranges_of_numbers_leave_nothing_out(bounds: list[int], parts: int) -> None:
    """However they are cut, and however often a range is halved."""
    way = ByKey.model_validate({"kind": "key", "query": {"q": "{from} {to}"}, "bounds": sorted(bounds), "parts": parts})
    found = [(int(each.first), int(each.last)) for each in spans(way, 0, NOW_US)]
    assert found[0][0] == min(bounds)
    assert found[-1][1] == max(bounds)
    assert all(low < high for low, high in found)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(found))
    for half in halves(way, spans(way, 0, NOW_US)[0]):
        assert int(half.first) < int(half.last)


@pytest.mark.parametrize(
    "bounds",
    [("4", "8"), ("", "1"), ("a", "z"), ("ab", "ac"), ("4a", "4b"), ("ffff", "g"), ("AA", "ZZ"), ("0-1", "0-2")],
)
def test_a_range_of_text_is_cut_about_halfway(bounds: tuple[str, str]) -> None:
    """By the signs its bounds are written in; the middle is between them as text, too."""
    way = ByKey.model_validate({"kind": "key", "query": {"q": "{from} {to}"}, "bounds": bounds})
    first, second = halves(way, spans(way, 0, NOW_US)[0])
    assert (first.first, second.last) == bounds
    assert first.last == second.first
    assert bounds[0].lower() < first.last < bounds[1].lower()


def test_ids_are_asked_for_some_at_a_time() -> None:
    """Each once; a slice of one id can't be made smaller."""
    way = ByIds.model_validate(
        {"kind": "ids", "query": {"id": "in ({ids})"}, "ids": list("abcab"), "at_a_time": 2, "quote": "'"}
    )
    assert [each.ids for each in spans(way, 0, NOW_US)] == [("a", "b"), ("c",)]
    assert [each.ids for each in halves(way, Span(ids=("a", "b")))] == [("a",), ("b",)]
    assert halves(way, Span(ids=("a",))) == []
    stream = SourceFile.model_validate(orders("https://x.example", "cursor")).streams["orders"]
    assert asked(stream, way, Span(ids=("a", "b"))).query == {"id": "in ('a','b')"}


@pytest.mark.parametrize(
    ("backfill", "says"),
    [
        ({"kind": "time", "query": {"a": "{since}"}}, "no {until}"),
        ({"kind": "key", "query": {"a": "{from}"}, "bounds": ["1", "2"]}, "no {to}"),
        ({"kind": "key", "query": {"a": "{from}{to}"}, "bounds": ["2", "1"]}, "do not count up"),
        ({"kind": "key", "query": {"a": "{from}{to}"}, "bounds": ["b", "c", "b"]}, "twice"),
        ({"kind": "key", "query": {"a": "{from}{to}"}, "bounds": ["b", "c"], "parts": 2}, "no numbers"),
        ({"kind": "key", "query": {"a": "{from}{to}"}, "bounds": [0, 1, 2], "parts": 900}, "1,000 slices"),
        ({"kind": "ids", "query": {"a": "{ids}"}, "ids": ["x' or 'y"]}, "without quotes"),
        ({"kind": "ids", "query": {"a": "{ids}"}, "ids": list("ab"), "too_many": [" "]}, "empty word"),
        ({"kind": "time", "query": {"a": "{since}{until}"}, "start": "lately"}, "not a date"),
    ],
)
def test_slices_that_would_not_be_slices_are_refused(backfill: dict[str, Any], says: str) -> None:
    """Config says what is wrong before anything is read."""
    with pytest.raises(ValidationError, match=says):
        SourceFile.model_validate(orders("https://x.example", "cursor", backfill=backfill))


def test_pages_by_keyset_must_stay_within_the_slice() -> None:
    """Their requests are written anew for every page, so the bounds must be in them."""
    with pytest.raises(ValidationError, match=r"no \{since\} in backfill.pages"):
        SourceFile.model_validate(orders("https://x.example", "keyset", backfill=BY_TIME))


def test_without_a_word_in_config_a_stream_is_sliced_as_it_is_polled(accounts: Source) -> None:
    """By a bounded watermark, by OData's filter, and otherwise whole."""
    bounded = {"kind": "watermark", "query": {"from": "{since}", "to": "{until}"}, "format": "epoch_s"}
    open_ended = {"kind": "watermark", "query": {"from": "{since}"}}

    def way(source: dict[str, Any]) -> Any:
        made = SourceFile.model_validate(source)
        return way_of(made, next(iter(made.streams)))

    like_polls = way(orders("https://x.example", "cursor", incremental=bounded))
    assert (like_polls.kind, like_polls.query, like_polls.format) == ("time", bounded["query"], "epoch_s")
    assert isinstance(way(orders("https://x.example", "cursor", incremental=open_ended)), Whole)
    assert isinstance(way(orders("https://x.example", "keyset", incremental=bounded)), Whole)
    assert way(accounts("https://x.example")).query == {"$filter": "modifiedon ge {since} and modifiedon lt {until}"}
    filtered = accounts("https://x.example", query={"$filter": "statecode eq 0 or old eq 1"})
    assert way(filtered).query["$filter"].startswith("(statecode eq 0 or old eq 1) and modifiedon ge ")
    assert isinstance(way(accounts("https://x.example", modified="")), Whole)


def test_polls_always_find_a_place() -> None:
    """Slices keep to the places that streams do not need; of one place alone they make turns."""

    def places(concurrency: int, streams: int) -> Sequence[int]:
        source = SourceFile.model_validate(orders("https://x.example", "cursor", limits={"concurrency": concurrency}))
        some = {f"s{number}": source.streams["orders"] for number in range(streams)}
        return list(spare(source.model_copy(update={"streams": some})))

    assert places(4, 1) == [1, 2, 3]
    assert places(4, 4) == [0, 1, 2]
    assert places(2, 9) == [0]
    assert places(1, 1) == [0]


async def test_dataverse_is_asked_by_filter_and_for_no_change_tracking(world: Open, accounts: Source) -> None:
    """Filters are refused with it; and the poll's delta link stays the poll's."""
    peer = DataversePeer("accountid", page=2)
    for number in range(5):
        peer.table.put({"accountid": f"a{number}", "name": "", "modifiedon": "2026-03-01T10:00:00Z"})
    backfill = {"kind": "time", "start": "2026-01-01", "slice": "3650d"}
    backfill["query"] = {"$filter": "modifiedon ge {since} and modifiedon lt {until}"}
    async with serve(peer.app) as url, world(accounts(url, backfill=backfill)) as it:
        await it.poll()
        polls = len(peer.requests)
        past = Past(it, "crm", "accounts")
        await past.ask()
        await past.through()
        mine = peer.requests[polls:]
        changes = await it.changes()
        await it.poll()
    assert len(changes) == 10
    assert len({change.id for change in changes}) == 5
    assert all("track-changes" not in request.headers["prefer"] for request in mine)
    assert mine[0].query_params["$filter"].startswith("modifiedon ge 2026-01-01T00:00:00Z and modifiedon lt ")
    assert "$deltatoken" in peer.requests[-1].query_params


async def test_salesforce_pages_stay_within_their_slice(world: Open) -> None:
    """Keyset pages carry the slice's bounds, so that no slice reads what belongs to the next."""
    peer = Salesforce(cap=3)
    for number in range(1, 21):
        peer.put(number, minute=number)
    slices = salesforce("")["streams"]["accounts"] | {"backfill": {"start": "2026-02-28T10:10:00Z", "slice": "12h"}}
    async with serve(peer.app) as url, world(salesforce(url, backfill=slices["backfill"])) as it:
        it.ahead_us += 1_772_361_000_000_000 - it.capture.now_us()  # 10:30
        past = Past(it, "sf", "accounts")
        await past.ask()
        done = await past.through()
        keys = [change.data.key for change in await it.changes()]
    assert done.state == "done"
    assert sorted(keys) == sorted(peer.rows)
    assert all("SystemModstamp < " in query for query in peer.queries)


async def test_salesforces_bulk_api_prepares_a_job_for_each_slice(world: Open) -> None:
    """Submitted, waited for without a place at the source, read, and removed."""
    peer = SalesforceBulk(takes=3)
    for number in range(1, 21):
        peer.put(number, minute=number)
    source = bulk("", job={"first_look": "2s"})
    source["streams"]["accounts"]["backfill"] = {"start": "2026-02-28T22:10:00Z", "slice": "12h"}
    async with serve(peer.app) as url:
        source["connection"]["base_url"] = url
        async with world(source) as it:
            it.ahead_us += 1_772_361_000_000_000 - it.capture.now_us()
            past = Past(it, "sf", "accounts")
            await past.ask()
            await past.step()
            await past.step()
            waiting = list((await past.slices()).values())
            assert any(each.job and each.state == "open" for each in waiting)
            for _ in range(12):
                await past.step(5)
            assert (await past.now()).state == "done"
            keys = [change.data.key for change in await it.changes()]
    assert sorted(keys) == sorted(peer.rows)
    assert not peer.jobs


@pytest.mark.parametrize("backfill", [{"kind": "key"}, {"kind": "ids"}])
async def test_keys_and_ids_are_asked_for_as_config_says(world: Open, backfill: dict[str, Any]) -> None:
    """A service that takes ranges, or lists, of keys: every record once."""
    requests: list[Request] = []

    async def rows(request: Request) -> Response:
        requests.append(request)
        asked_for = request.query_params
        numbers = map(int, asked_for["ids"].split(",")) if "ids" in asked_for else range(1000)
        kept = [
            {"id": number}
            for number in numbers
            if int(asked_for.get("low", 0)) <= number < int(asked_for.get("high", 10**6))
        ]
        return JSONResponse(kept)

    said: dict[str, Any] = {
        "key": {"query": {"low": "{from}", "high": "{to}"}, "bounds": [0, 1000], "parts": 4, "cap": 200},
        "ids": {"query": {"ids": "{ids}"}, "ids": list(range(50)), "at_a_time": 20},
    }[backfill["kind"]]
    source = orders("", "cursor", paginate={"kind": "none"}, records="", modified="", backfill=backfill | said)
    source["streams"]["orders"]["fields"] = {"name": "id"}
    async with serve(Starlette(routes=[Route("/api/cursor", rows)])) as url:
        source["connection"]["base_url"] = f"{url}/api"
        async with world(source) as it:
            past = Past(it, "shop", "orders")
            await past.ask()
            done = await past.through()
            keys = [int(change.data.key) for change in await it.changes()]
    assert sorted(keys) == list(range(1000 if backfill["kind"] == "key" else 50))
    assert done.slices == (8 if backfill["kind"] == "key" else 3)


async def test_an_expired_page_begins_its_slice_again(world: Open) -> None:
    """A link that is no longer served costs the slice's pages once more, and nothing is missed."""
    peer = Shop(cap=4)
    for number in range(12):
        peer.put(number, number)
    peer.answers = [None, Response("your cursor EXPIRED", 400)]
    source = orders("", "cursor", expired=["EXPIRED"], backfill={"kind": "whole"})
    async with serve(peer.app) as url:
        source["connection"]["base_url"] = f"{url}/api"
        async with world(source) as it:
            past = Past(it, "shop", "orders")
            await past.ask()
            await past.through()
            keys = {int(change.data.key) for change in await it.changes()}
    assert keys == set(range(12))
    assert len(peer.requests) == 5

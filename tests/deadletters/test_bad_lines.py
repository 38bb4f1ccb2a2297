"""Bad lines among good ones: each is told with its number, its field and the reason, and the others count."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import msgspec
import pytest

from flockiq.shared import wire
from flockiq.shared.deadletters import exhume
from tests.deadletters.world import US, World, change, packed, resolved

DEEP = 100_000
Bad = tuple[bytes, str, str]  # the line, the field, the beginning of what is said of it

CHANGES: Mapping[str, Bad] = {
    "broken off": (change("x", {})[:-9], "", "Input data was truncated"),
    "not JSON": (b"hello", "", "JSON is malformed"),
    "not text": (b"\xff\xfe\x00", "", "JSON is malformed"),
    "an array": (b"[1, 2]", "", "Expected `object`, got `array`"),
    "a field missing": (change("x", {}, key=None), "data.key", "Object missing required field"),
    "a field of another type": (change("x", {}, ts_us="noon"), "data.ts_us", "Expected `int`, got `str`"),
    "after the year 9999": (change("x", {}, ts_us=10**18), "data.ts_us", "Expected `int` <="),
    "before the year 1": (change("x", {}, ts_us=-(10**18)), "data.ts_us", "Expected `int` >="),
    "no run has this number": (change("x", {}, run=1 << 40), "data.run", "Expected `int` <"),
    "a key of 10 kB": (change("k" * 10_000, {}), "data.key", "Expected `str` of length <= 4096"),
    "another kind": (change("x", {}, type="flockiq.nonsense"), "type", "'flockiq.nonsense' is none of flockiq.change"),
    "another version": (change("x", {}, specversion="2.0"), "specversion", "Invalid value '2.0'"),
    "another tenant": (change("x", {}, tenant="else"), "tenant", "this app is of tenant 'default'"),
    "an unknown stream": (change("x", {}, stream="orders"), "stream", "no source in config has the stream"),
    "a record that is a list": (change("x", b"[1]"), "", "the record is no JSON object"),
    "bytes that are no text": (change("x", b'{"name": "a\xff\xfeb"}'), "name", "'utf-8' codec can't decode byte"),
    "a number beyond all": (change("x", b'{"rating": 1e999}'), "rating", "Number out of range"),
    "half a character": (change("x", b'{"name": "\\ud800"}'), "name", "holds half of a surrogate pair"),
    "half a character within": (
        change("x", b'{"notes": {"a": ["b\\udc00c"]}}'),
        "notes.a",
        "holds half of a surrogate",
    ),
    "half a character in a name": (change("x", b'{"n\\ud800": 1}'), "", "holds half of a surrogate pair"),
    "not a number": (change("x", b'{"limit": NaN}'), "limit", "NaN is no number in JSON (send null"),
    "no end of it": (change("x", b'{"rating": 1, "limit": -Infinity}'), "limit", "-Infinity is no number in JSON"),
    "nested without end": (
        change("x", b'{"notes": ' + b"[" * DEEP + b"]" * DEEP + b"}"),
        "notes",
        "is nested too deeply",
    ),
    "a number with a zero before": (change("x", b'{"name": "n", "limit": 01}'), "limit", "JSON is malformed"),
    "broken off in a value": (change("x", b'{"name": "n", "limit": "12"}')[:-5], "limit", "Input data was truncated"),
    "a comma missing": (change("x", b'{"name": "n" "limit": 1}'), "name", "JSON is malformed"),
    "two things wrong": (change("x", b'{"name": NaN, "limit": 01}'), "name", "NaN is no number in JSON"),
    "no value at all": (change("x", b""), "", "JSON is malformed"),
    "not a number, in words": (change("x", {"limit": "NaN"}), "limit", "'NaN'"),
    "infinite": (change("x", {"rating": "Infinity"}), "rating", "'Infinity'"),
    "a word for a number": (change("x", {"staff": "many"}), "staff", "'many'"),
    "a list for a text": (change("x", {"name": ["a"]}), "name", ""),
    "a text of 1 MB": (change("x", {"name": "a" * 1_000_000}), "name", "'aaaa"),
    "much text together": (
        change("x", {"name": "\N{EURO SIGN}" * 90_000, "notes": "b" * 90_000}),
        "",
        "its fields have 36",
    ),
    "a time in the year 10000": (change("x", {"seen": "10000-01-01T00:00:00Z"}), "seen", "'10000-01"),
    "a time past 9999 in UTC": (change("x", {"seen": "9999-12-31T23:59:59-05:00"}), "seen", "'9999-12-31"),
    "a time without a zone": (
        change("x", {"seen": "2024-01-31T08:00:00"}),
        "seen",
        "'2024-01-31T08:00:00' has no time",
    ),
    "no such day": (change("x", {"since": "2024-02-30"}), "since", "'2024-02-30'"),
}

NAMELESS = {"not JSON", "not text", "an array"}
"""Those of which it can't be read whose records they are."""

ODD = {
    "year-9999": {"name": "late", "seen": "9999-12-31T23:59:59Z", "since": "9999-12-31"},
    "many-fields": {"name": "wide"} | {f"field{number}": number for number in range(10_000)},
    "long-unmapped": {"name": "long", "remark": random.Random(1).randbytes(1_500_000).hex()},
    "k" * wire.MAX_KEY: {"name": "key"},
    "nested": {"name": "deep", "notes": msgspec.Raw(b"[" * 5_000 + b"]" * 5_000)},
}
"""Records that are strange, and right."""


async def test_bad_changes_are_told_one_by_one_and_the_good_ones_count(world: World) -> None:
    """Every second line is bad, each in a way of its own: number, field and reason are told of all."""
    lines: list[bytes] = []
    for number, (line, _, _) in enumerate(CHANGES.values()):
        lines += [change(f"good-{number}", {"name": f"n{number}", "staff": number}), line]
    await world.publish("changes", packed(lines))
    await world.work()

    golden = await world.golden()
    assert {key: fields["staff"] for key, fields in golden.items()} == {
        f"good-{number}": number for number in range(len(CHANGES))
    }
    letters = {letter.line: letter for letter in await world.letters()}
    told = {name: letters.pop(2 * number + 2) for number, name in enumerate(CHANGES)}
    assert not letters
    assert {name: letter.field for name, letter in told.items()} == {name: bad[1] for name, bad in CHANGES.items()}
    for name, (_, _, reason) in CHANGES.items():
        assert told[name].reason.startswith(reason), name
        assert told[name].reason, name
        assert told[name].stage == "merge"
        assert told[name].source == ("" if name in NAMELESS else "web"), name
        assert told[name].key or name in NAMELESS | {"a field missing"}, name


async def test_strange_records_that_are_right_are_processed(world: World) -> None:
    """The year 9999, 10,000 fields, 3 MB that nobody asked for, a key of 4 kB, five thousand levels."""
    await world.publish("changes", packed([change(key, record) for key, record in ODD.items()]))
    await world.work()
    assert await world.letters("all") == []
    golden = await world.golden()
    assert golden.keys() == ODD.keys()
    assert golden["year-9999"]["seen"] == "9999-12-31T23:59:59.000000Z"


def pressed(**other: object) -> bytes:
    """A line that tells of a press of a button."""
    data = {"action": "resolve", "alert_id": "a", "fingerprint": "f", "rule": "r", "entity_id": "e", "by": "b"}
    whole = {"specversion": "1.0", "id": "p", "source": "s", "type": wire.ACTION, "time": "", "tenant": "default"}
    return msgspec.json.encode(whole | {"data": data | {"at_us": US} | other})


def ticked(at_us: object) -> bytes:
    """A line that tells the time."""
    whole = {"specversion": "1.0", "id": "t", "source": "s", "type": wire.TICK, "time": "", "tenant": "default"}
    return msgspec.json.encode(whole | {"data": {"at_us": at_us}})


RESOLVED: Mapping[str, Bad] = {
    "broken off": (resolved("x", {})[:-9], "", "Input data was truncated"),
    "a field missing": (resolved("x", {}, group=None), "data.group", "Object missing required field"),
    "after the year 9999": (resolved("x", {}, ts_us=10**18), "data.ts_us", "Expected `int` <="),
    "another kind": (resolved("x", {}, type="flockiq.nonsense"), "type", "'flockiq.nonsense' is none of"),
    "a line of another hub": (change("x", {}), "type", "'flockiq.change' is none of"),
    "an unknown entity type": (resolved("x", {}, entity="ghost"), "entity", "there is no entity type 'ghost'"),
    "an unknown source": (resolved("x", {}, source="fax"), "source", "no stream of source 'fax'"),
    "a word for a number": (resolved("x", {"staff": "many"}), "staff", "'many' is not a whole number"),
    "a word for yes or no": (resolved("x", {"active": "perhaps"}), "active", "'perhaps' is not true or false"),
    "half a person": (resolved("x", {"staff": 1.5}), "staff", "1.5 is not a whole number"),
    "more than a lane holds": (resolved("x", {"staff": 1 << 61}), "staff", "2305843009213693952 is beyond"),
    "a decimal in words": (resolved("x", {"limit": "lots"}), "limit", "'lots' is not a decimal number"),
    "a time without a zone": (
        resolved("x", {"seen": "2024-01-31T08:00:00"}),
        "seen",
        "'2024-01-31T08:00:00' has no time",
    ),
    "a time past 9999 in UTC": (resolved("x", {"seen": "9999-12-31T23:59:59-05:00"}), "seen", "'9999-12-31"),
    "a list for a text": (resolved("x", {"name": ["a"]}), "name", "a value of type array is not text"),
    "a text of 1 MB": (resolved("x", {"name": "a" * 1_000_000}), "", "its fields have 1,000,0"),
    "bytes that are no text": (resolved("x", b'{"name": "a\xff\xfeb"}'), "name", "'utf-8' codec can't decode byte"),
    "json that is none": (resolved("x", {"notes": [1]}), "notes", "Expected `str | null`, got `array`"),
    "not a number": (resolved("x", b'{"rating": NaN}'), "rating", "NaN is no number in JSON"),
    "half a character": (resolved("x", b'{"name": "\\ud800"}'), "name", "holds half of a surrogate pair"),
    "beyond all numbers": (resolved("x", b'{"rating": 1e999}'), "rating", "Number out of range"),
    "nested without end": (resolved("x", b"[" * DEEP + b"]" * DEEP), "", "is nested too deeply"),
    "fields that are a list": (resolved("x", b"[1]"), "", "Expected `object`, got `array`"),
    "a tick in words": (ticked("noon"), "data.at_us", "Expected `int`, got `str`"),
    "a tick after 9999": (ticked(10**18), "data.at_us", "Expected `int` <="),
    "a press of no button": (pressed(action="applaud"), "data.action", "Invalid enum value 'applaud'"),
    "a press by nobody": (pressed(by=None), "data.by", "Expected `str`, got `null`"),
}


async def test_bad_lines_of_hub_resolved_are_told_one_by_one_and_the_good_ones_count(world: World) -> None:
    """Records, ticks and presses in one event: what is wrong with each is told, and the good ones count."""
    lines: list[bytes] = [ticked(US), pressed()]
    for number, (line, _, _) in enumerate(RESOLVED.values()):
        lines += [resolved(f"good-{number}", {"name": f"n{number}", "staff": number}), line]
    await world.publish("resolved", packed(lines))
    await world.work()

    assert len(await world.golden()) == len(RESOLVED)
    letters = {letter.line: letter for letter in await world.letters()}
    told = {name: letters.pop(2 * number + 4) for number, name in enumerate(RESOLVED)}
    assert not letters
    assert {name: letter.field for name, letter in told.items()} == {name: bad[1] for name, bad in RESOLVED.items()}
    for name, (_, _, reason) in RESOLVED.items():
        assert told[name].reason.startswith(reason), name
        assert told[name].stage == "process"


@pytest.mark.parametrize("bad", [1, 7])
async def test_a_bad_line_may_be_the_first(world: World, bad: int) -> None:
    """What an event holds is not judged by its first line; empty lines are no lines, but count."""
    good = [change(f"good-{number}", {"name": "n"}) for number in range(5)]
    lines = [b"{", *good, b"", b"{"] if bad == 1 else [b"", *good, b"{"]
    await world.publish("changes", packed(lines))
    await world.work()
    assert len(await world.golden()) == 5
    assert bad in {letter.line for letter in await world.letters()}


@pytest.mark.parametrize(("hub", "stage", "line"), [("changes", "merge", change), ("resolved", "process", resolved)])
async def test_the_only_line_of_its_event_is_told_as_any_other(
    world: World, hub: str, stage: str, line: Callable[..., bytes]
) -> None:
    """With the record it is about, and as text: most events of a quiet source hold one."""
    bad = line("7", b'{"rating": NaN}')
    await world.publish(hub, packed([bad]))
    await world.work()
    [letter] = await world.letters()
    assert (letter.stage, letter.source, letter.stream, letter.key) == (stage, "web", "contacts", "7")
    assert (letter.line, letter.field, letter.reason[:3]) == (1, "rating", "NaN")
    [path] = await world.services.blobs.list("dead-letters/")
    assert (await exhume(world.services, path)).record.encode() == bad

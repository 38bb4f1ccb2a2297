"""Replaying: a record goes back to where it failed, counts once, and fails again as a letter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from flockiq.capture.batch import Batch
from flockiq.serve.deadletters import Filter, listed, one, replay
from flockiq.shared.deadletters import DeadLetter, bury
from flockiq.shared.errors import NotFound, StoreUnavailable
from flockiq.shared.instants import rfc3339
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.replay import NotReplayable
from flockiq.shared.services import Services
from tests.deadletters.world import US, World, change, packed, resolved

MINUTE = 60_000_000


@asynccontextmanager
async def opened(folder: Path, *, staff: str = "integer", primary_key: str = "id") -> AsyncIterator[World]:
    """One app over a folder, until left; the next one finds what it left."""
    world = World(folder, staff=staff, primary_key=primary_key)
    try:
        yield world
    finally:
        await world.close()


async def captured(world: World, *records: dict[str, object]) -> None:
    """Records as capture takes them from a reading of their source."""
    batch = Batch(world.services, world.config.sources["web"], "contacts", 2)
    batch.begin(3, US)
    for record in records:
        batch.take({name: msgspec.Raw(msgspec.json.encode(value)) for name, value in record.items()}, US + 5)
    await batch.publish()


async def summed(world: World) -> int:
    """How many letters the page counts."""
    path = Path(__file__).parents[2] / "eventhouse" / "queries" / "dead_letter_count.kql"
    table = await world.services.analytics.query(path.read_text(), {"tenant": "default"})
    return int(str(table.rows[0][0]))


@pytest.mark.parametrize("times", [1, 2])
async def test_a_change_that_config_can_read_at_last_is_merged_once(tmp_path: Path, times: int) -> None:
    """Staff was declared a number; since it is a text, the record goes through, however often it is replayed."""
    async with opened(tmp_path) as world:
        await world.publish("changes", packed([change("7", {"name": "A", "staff": "about 5"}), change("8", {})]))
        await world.work()
        [letter] = await world.letters()
        assert (letter.field, letter.line, letter.open, await summed(world)) == ("staff", 1, True, 1)
    async with opened(tmp_path, staff="string") as world:
        for _ in range(times):
            sent = await replay(world.services, world.config, letter.id, world.capture.now_us())
            assert sent.hub == "changes"
            await world.work()
        assert (await world.golden())["7"] == dict.fromkeys(await _fields(world)) | {"name": "A", "staff": "about 5"}
        assert [delta[1:4] for delta in await world.deltas()] == [("name", "", "A"), ("staff", "", "about 5")]
        assert await world.letters() == []
        assert [each.id for each in await world.letters("replayed")] == [letter.id]
        assert await summed(world) == 0


async def _fields(world: World) -> Sequence[str]:
    return list(world.config.entities["peer"].fields)


async def test_a_record_that_fails_again_is_a_letter_again(world: World) -> None:
    """Nothing was mended: the same letter is open again, and tells when it was replayed."""
    await world.publish("changes", packed([change("7", {"staff": "many"})]))
    await world.work()
    [before] = await world.letters()
    await world.replay_all()
    [after] = await world.letters()
    assert after.id == before.id
    assert before.at < after.replayed_at <= after.at
    assert await summed(world) == 1


async def test_a_replayed_record_does_not_overwrite_what_came_after_it(tmp_path: Path) -> None:
    """It takes its own place in time: the newer version of its record stands."""
    async with opened(tmp_path) as world:
        await world.publish("changes", packed([change("7", {"name": "old", "staff": "many"})]))
        await world.publish("changes", packed([change("7", {"name": "new", "staff": 5}, US + MINUTE)]))
        await world.work()
    async with opened(tmp_path, staff="string") as world:
        await world.replay_all()
        golden = await world.golden()
        assert (golden["7"]["name"], golden["7"]["staff"]) == ("new", "5")  # which was known as a number
        assert await world.letters() == []


async def test_a_line_of_hub_resolved_goes_back_to_its_group(tmp_path: Path) -> None:
    """Its partition is that of its group, whatever partition it was found in."""
    async with opened(tmp_path) as world:
        await world.publish("resolved", packed([resolved("7", {"staff": "about 5"})]))
        await world.work()
        [letter] = await world.letters()
        assert (letter.stage, letter.field) == ("process", "staff")
    async with opened(tmp_path, staff="string") as world:
        await world.replay_all()
        assert (await world.golden())["7"]["staff"] == "about 5"
        assert await world.letters() == []


async def test_a_captured_record_is_captured_again_with_its_own_time(tmp_path: Path) -> None:
    """Its key was looked for in another field; it is published as if read just then, once."""
    record = {"number": "7", "name": "A", "changed": rfc3339(US + MINUTE)}
    async with opened(tmp_path) as world:
        await captured(world, record)
        [letter] = await world.letters()
        assert (letter.stage, letter.field) == ("capture", "id")
    async with opened(tmp_path, primary_key="number") as world:
        for _ in range(2):
            await replay(world.services, world.config, letter.id, world.capture.now_us())
            await world.work()
        assert (await world.golden())["7"]["name"] == "A"
        assert len(await world.deltas()) == 1
        assert await world.letters() == []
        source = await world.services.analytics.query("Changes | summarize by EventId, SourceTime | project SourceTime")
        assert list(source.rows) == [[rfc3339(US + MINUTE)]]


async def test_a_captured_record_without_a_time_loses_to_what_came_since(tmp_path: Path) -> None:
    """It stands where it was first set aside, so a later reading wins; so it does after failing a second time."""
    async with opened(tmp_path) as world:
        await captured(world, {"number": "7", "name": "old"})
        await world.replay_all()
        assert len(await world.letters()) == 1
    async with opened(tmp_path, primary_key="number") as world:
        await world.publish("changes", packed([change("7", {"name": "new"}, US + MINUTE)]))
        await world.work()
        await world.replay_all()
        assert (await world.golden())["7"]["name"] == "new"
        assert await world.letters() == []


class Losing:
    """Analytics that refuse one table's rows: the process dies between sending and noting."""

    def __init__(self, services: Services) -> None:
        self._analytics = services.analytics

    async def ingest(self, table: str, rows: bytes) -> None:
        """Refuse."""
        raise StoreUnavailable(f"{table}: {len(rows)}")

    def __getattr__(self, name: str) -> object:
        return getattr(self._analytics, name)


async def test_a_crash_before_the_replay_is_noted_leaves_the_letter_open_and_counts_once(tmp_path: Path) -> None:
    """The record was sent; the letter is replayed again, and nothing is told twice."""
    async with opened(tmp_path) as world:
        await world.publish("changes", packed([change("7", {"staff": "about 5"})]))
        await world.work()
    async with opened(tmp_path, staff="string") as world:
        [letter] = await world.letters()
        dying = world.services._replace(analytics=Losing(world.services))  # type: ignore[arg-type]  # of one use
        with pytest.raises(StoreUnavailable):
            await replay(dying, world.config, letter.id, world.capture.now_us())
        await world.work()
        assert (await world.golden())["7"]["staff"] == "about 5"
        assert [each.id for each in await world.letters()] == [letter.id]
        await world.replay_all()
        assert len(await world.deltas()) == 1
        assert await world.letters() == []


LETTER = DeadLetter(stage="merge", source="web", stream="contacts", reason="r", at_us=US, key="7", body=change("7", {}))


def _of(**other: object) -> DeadLetter:
    return msgspec.structs.replace(LETTER, **other)


REFUSED = {
    "no line": (_of(body=b"{"), "is no line that hub changes takes"),
    "a whole event": (_of(body=packed([b"{}"])), "is no line that hub changes takes"),
    "no text": (_of(stage="process", body=b"\xff\xfe"), "is no line that hub resolved takes"),
    "cut": (_of(body=change("7", {"name": "a" * 1_100_000})), "too large to be kept whole"),
    "a stage nobody knows": (_of(stage="juggle"), "nothing takes back the letters of stage 'juggle'"),
    "a row of a file": (_of(stage="capture", body=b'["7", "A"]'), "Mend the file and put it there again"),
    "a file": (_of(stage="capture", key="inbox/web/a.csv", body=b""), "Mend the file and put it there again"),
    "a message to capture": (_of(stage="capture", source="", stream="", body=b"x"), "a message to capture itself"),
    "no stream": (_of(stage="capture", stream="", body=b"{}"), "belongs to no stream"),
    "a stream of old": (_of(stage="capture", stream="fax", body=b"{}"), "has no stream 'fax' any more"),
    "a source of old": (_of(stage="capture", source="fax", body=b"{}"), "no source 'fax' in config"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_go_back_says_why_and_what_to_do(world: World, name: str) -> None:
    """Looking at the letter says the same beforehand; it stays open, and nothing is sent."""
    letter, reason = REFUSED[name]
    await bury(world.services, [letter])
    [kept] = await world.letters()
    found = await one(world.services, world.config, kept.id)
    assert reason in found.refusal
    with pytest.raises(NotReplayable, match=reason):
        await replay(world.services, world.config, kept.id, world.capture.now_us())
    assert len(await world.letters()) == 1
    for hub in ("changes", "resolved", "work"):
        assert not any([(await world.services.events.bounds(hub, partition)).end for partition in range(2)])


async def test_a_tick_and_a_press_on_an_alert_that_is_gone_are_over(world: World) -> None:
    """What no fold survived is replayed by its kind: these two have nothing to go back to."""
    data = {"action": "resolve", "alert_id": "a", "fingerprint": "f", "rule": "r", "entity_id": "e", "by": "b"}
    whole = {"id": "p", "source": "s", "time": "", "tenant": "default"}
    press = msgspec.json.encode(whole | {"type": "flockiq.action", "data": data | {"at_us": US}})
    tick = msgspec.json.encode(whole | {"type": "flockiq.tick", "data": {"at_us": US}})
    await bury(world.services, [_of(stage="process_resolved", body=press), _of(stage="process_resolved", body=tick)])
    refusals = {(await one(world.services, world.config, each.id)).refusal for each in await world.letters()}
    assert len(refusals) == 2
    assert all("is gone" in refusal or "is over" in refusal for refusal in refusals)


async def test_an_id_nobody_knows_is_not_found(world: World) -> None:
    """Neither is one whose record was removed."""
    with pytest.raises(NotFound):
        await one(world.services, world.config, "nobody")
    await bury(world.services, [LETTER])
    [path] = await world.services.blobs.list("dead-letters/")
    await world.services.blobs.delete(path)
    [letter] = await world.letters()
    with pytest.raises(NotFound):
        await replay(world.services, world.config, letter.id, US)


async def test_pages_tell_every_letter_once_though_all_failed_at_one_moment(world: World) -> None:
    """A batch's letters share their time; following the continuation visits each once."""
    many = [_of(key=str(number)) for number in range(25)] + [_of(key="later", at_us=US + 1, source="fax")]
    await bury(world.services, many)
    seen, continuation = [], ""
    while True:
        page = await listed(world.services, Filter(), 4, continuation)
        seen += [letter.key for letter in page.dead_letters]
        continuation = page.continuation
        if not continuation:
            break
    assert seen[0] == "later"
    assert sorted(seen) == sorted(letter.key for letter in many)
    assert [each.key for each in (await listed(world.services, Filter(source="fax"))).dead_letters] == ["later"]


async def test_work_that_names_no_dead_letter_of_captures_reads_nothing(world: World) -> None:
    """A slice is not a path into everything the app keeps."""
    await world.services.blobs.put("inbox/secret.json", LETTER.body)
    for path in ("inbox/secret.json", "dead-letters/else/capture/x.json", "dead-letters/default/capture/none.json"):
        data = {"source": "web", "stream": "contacts", "slice": f"dead-letter:{path}"}
        work = {"id": "w", "source": "web", "type": "flockiq.work", "time": "", "tenant": "default", "data": data}
        await world.services.events.publish("work", [OutgoingEvent(0, packed([msgspec.json.encode(work)]), {})])
    await world.work()
    assert await world.letters("all") == []
    assert not (await world.services.events.bounds("changes", 0)).end

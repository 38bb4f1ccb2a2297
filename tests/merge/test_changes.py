"""Record state: what is repeated, unchanged, late or deleted, and what goes on to the entities."""

from __future__ import annotations

import msgspec
import pytest

from flockiq.merge.changes import Changes
from flockiq.merge.mapping import stream_plans
from flockiq.shared import wire
from flockiq.shared.config.model import Config
from flockiq.shared.lateness import Lateness
from flockiq.shared.outbox import Outbox
from flockiq.shared.settings import Settings
from flockiq.shared.tabular import ndjson
from tests.merge.feed import change, changes_of, forwarded, packed, place, said, tell

ACME = {"name": "Acme", "tax_id": "DE1", "terms": "net 30", "staff": 5}
BORG = {**ACME, "name": "Borg"}


def test_a_new_record_goes_to_the_entity_of_its_match_key(changes: Changes) -> None:
    """The line carries the entity, its group, the position and every field."""
    (line,) = forwarded(tell(changes, change("c", 10, ACME, run=3, row=4)).outbox)
    assert (line.data.entity, line.data.entity_id, line.data.group) == ("company", *place("de1")[::2])
    assert (line.data.match_key, line.data.key, line.data.stream, line.source) == ("de1", "7", "contacts", "web")
    assert (line.data.ts_us, line.data.run, line.data.row) == (10, 3, 4)
    assert line.data.fields == ACME


def test_a_record_without_a_match_key_is_an_entity_of_its_own(changes: Changes) -> None:
    """Neither null nor empty text matches anything."""
    folded = tell(changes, change("c", 1, {**ACME, "tax_id": None}), change("c", 1, {**ACME, "tax_id": ""}, key="8"))
    assert [key for _, key, _, _ in said(folded)] == ["web/contacts/7", "web/contacts/8"]


def test_a_version_told_twice_is_forwarded_once(changes: Changes) -> None:
    """In the same batch or in a later one, by this run of the stream or another."""
    first = change("c", 10, ACME)
    assert len(said(tell(changes, first, first))) == 1
    assert not said(tell(changes, change("c", 10, ACME, run=2)))
    assert (changes.duplicates, changes.unchanged) == (2, 0)


def test_what_did_not_change_goes_no_further(changes: Changes) -> None:
    """A record read again at a later time with the same content is counted and dropped."""
    tell(changes, change("c", 10, ACME))
    folded = tell(changes, change("r", 20, ACME))
    assert not folded.outbox
    assert (changes.duplicates, changes.unchanged) == (0, 1)


def test_the_newest_version_follows_a_late_one_if_it_had_been_dropped(changes: Changes) -> None:
    """A, A again, then a B from between them: in the end it is A; and the B is not news if another B precedes it."""
    tell(changes, change("c", 10, ACME))
    tell(changes, change("r", 30, ACME))
    folded = tell(changes, change("r", 20, BORG))
    assert said(folded) == [("r", "de1", 20, BORG), ("r", "de1", 30, ACME)]
    assert said(tell(changes, change("r", 15, BORG))) == [("v", "de1", 20, {}), ("r", "de1", 15, BORG)]


def test_of_versions_that_were_dropped_the_first_after_a_late_one_is_told(changes: Changes) -> None:
    """It is the one that changed the record back, whichever of them came last."""
    for us in (10, 30, 40, 50):
        tell(changes, change("r", us, ACME))
    assert said(tell(changes, change("r", 20, BORG))) == [("r", "de1", 20, BORG), ("r", "de1", 30, ACME)]
    assert said(tell(changes, change("r", 45, BORG))) == [("r", "de1", 45, BORG), ("r", "de1", 50, ACME)]


def test_a_version_that_turns_out_to_be_no_news_is_voided(changes: Changes) -> None:
    """Read at 20 and at 10, told in the wrong order: only the one at 10 changed anything."""
    tell(changes, change("r", 20, ACME))
    lines = forwarded(tell(changes, change("r", 10, ACME)).outbox)
    assert [(line.data.op, line.data.ts_us) for line in lines] == [("v", 20), ("r", 10)]
    assert 0 < lines[0].data.rev < lines[1].data.rev


def test_of_a_record_as_many_versions_are_kept_as_the_settings_say(config: Config) -> None:
    """One older than those is told as it is, and leaves for where the oldest of them was."""
    changes = changes_of(config)
    depth = changes.settings.versions_kept
    for number in range(depth + 3):
        tell(changes, change("r", 100 + number, {**ACME, "staff": number}))
    assert len(changes.records.chain(0)) == depth + 1
    late = tell(changes, change("r", 50, {**BORG, "tax_id": "DE2"}))
    assert said(late) == [("r", "de2", 50, {**BORG, "tax_id": "DE2"}), ("d", "de2", 102, {})]
    assert len(changes.records.chain(0)) == depth + 1


def test_an_entity_type_says_how_much_is_remembered_of_its_records(config: Config) -> None:
    """Fewer versions, and for a shorter time, than the settings have it; other types keep to the settings."""
    plans = stream_plans(config)
    web = plans["web", "contacts"]
    shorter = web._replace(lateness=Lateness(us=3_600_000_000, versions=3))
    now_us = 1_000 * 86_400_000_000
    changes = Changes(plans | {("web", "contacts"): shorter}, Settings(), lambda: now_us)
    for number in range(9):
        tell(changes, change("r", 100 + number, {**ACME, "staff": number}))
        tell(
            changes,
            change("r", 100 + number, {"customer": "C", "amount": f"{number}.00"}, source="erp", stream="orders"),
        )
    assert sorted(len(changes.records.chain(at)) for at in range(2)) == [4, 10]
    now_us += 2 * 3_600_000_000
    changes.snapshot()
    assert sorted(len(changes.records.chain(at)) for at in range(2)) == [1, 10]


def test_a_late_version_does_not_become_the_newest(changes: Changes) -> None:
    """It is forwarded at its own position, and what is compared with stays what it was."""
    tell(changes, change("c", 20, ACME))
    assert said(tell(changes, change("r", 10, BORG))) == [("r", "de1", 10, BORG)]
    assert not tell(changes, change("r", 30, ACME)).outbox


def test_a_repeated_version_of_a_later_run_is_remembered_as_the_newest(changes: Changes) -> None:
    """Among versions of one source time the later run wins, though it repeats the one before."""
    tell(changes, change("c", 10, ACME, run=1))
    tell(changes, change("c", 10, ACME, run=3))
    folded = tell(changes, change("c", 10, BORG, run=2))
    lines = forwarded(folded.outbox)
    assert [(line.data.run, line.data.fields["name"]) for line in lines] == [(2, "Borg"), (3, "Acme")]


def test_an_update_says_only_what_it_holds(changes: Changes) -> None:
    """What it lacks is unknown and stays so; what is null is told as null; the match key is remembered."""
    tell(changes, change("c", 10, ACME))
    assert said(tell(changes, change("u", 20, {"name": "Borg"}))) == [("u", "de1", 20, {"name": "Borg"})]
    assert said(tell(changes, change("u", 30, {"terms": None}))) == [("u", "de1", 30, {"terms": None})]


def test_a_whole_record_is_null_in_what_it_lacks(changes: Changes) -> None:
    """Created or read, a record is all there is of it."""
    folded = tell(changes, change("r", 10, {"tax_id": "DE1"}))
    assert said(folded) == [("r", "de1", 10, {"name": None, "tax_id": "DE1", "terms": None, "staff": None})]


def test_versions_of_one_record_in_one_batch_follow_each_other(changes: Changes) -> None:
    """Each is judged against the one before it, not against the state before the batch."""
    folded = tell(
        changes, change("c", 10, ACME), change("r", 20, ACME), change("u", 30, {"staff": 6}), change("r", 25, BORG)
    )
    assert [(op, us) for op, _, us, _ in said(folded)] == [("c", 10), ("u", 30), ("r", 25)]


@pytest.mark.parametrize("first", [0, 1])
def test_equal_positions_are_decided_by_content_in_any_order(config: Config, first: int) -> None:
    """Two contents at one position: whichever comes first, the same one is the newest."""
    pair = [change("r", 10, ACME), change("r", 10, BORG)]
    changes, other = changes_of(config), changes_of(config)
    for one in (pair[first], pair[1 - first]):
        tell(changes, one)
    for one in pair:
        tell(other, one)
    assert changes.records.last(0) == other.records.last(0)


def test_a_deleted_record_is_deleted_where_it_was(changes: Changes) -> None:
    """A deletion holds no fields; the place is remembered."""
    tell(changes, change("c", 10, ACME))
    assert said(tell(changes, change("d", 20))) == [("d", "de1", 20, {})]
    assert said(tell(changes, change("r", 30, ACME))) == [("r", "de1", 30, ACME)]


def test_a_version_from_before_a_deletion_does_not_bring_the_record_back(changes: Changes) -> None:
    """It is forwarded at its own position, below the deletion's."""
    tell(changes, change("c", 10, ACME))
    tell(changes, change("d", 30))
    assert said(tell(changes, change("r", 20, BORG))) == [("r", "de1", 20, BORG)]
    assert changes.records.last(0).gone


def test_a_deletion_of_an_unknown_record_waits_for_where_the_record_was(changes: Changes) -> None:
    """Nothing is told until a version arrives from before it; then every deletion follows it."""
    assert not tell(changes, change("d", 30)).outbox
    assert not tell(changes, change("d", 20)).outbox
    gone = [("d", "de1", 20, {}), ("d", "de1", 30, {})]
    assert said(tell(changes, change("r", 10, ACME))) == [("r", "de1", 10, ACME), *gone]
    assert said(tell(changes, change("r", 15, BORG))) == [("r", "de1", 15, BORG)]


def test_an_update_from_before_a_deletion_of_an_unknown_record_brings_the_deletion(changes: Changes) -> None:
    """What it says is known to be gone, and an update from after the deletion goes on."""
    tell(changes, change("d", 20))
    assert said(tell(changes, change("u", 30, {"name": "Acme"}))) == [("u", "web/contacts/7", 30, {"name": "Acme"})]
    assert said(tell(changes, change("u", 10, {"staff": 5}))) == [
        ("u", "web/contacts/7", 10, {"staff": 5}),
        ("d", "web/contacts/7", 20, {}),
    ]


def test_an_unknown_stream_is_a_dead_letter_and_the_others_go_on(changes: Changes) -> None:
    """The letter names what config lacks and keeps the record."""
    stranger = change("c", 10, ACME, stream="leads")
    folded = tell(changes, stranger, change("c", 10, ACME))
    (letter,) = folded.letters
    assert (letter.source, letter.stream, letter.key) == ("web", "leads", "7")
    assert "no source in config has the stream web/leads" in letter.reason
    assert letter.body == wire.encode(stranger)
    assert len(said(folded)) == 1


@pytest.mark.parametrize("after", [b"[1]", b"null", b'"text"', b"5"])
def test_a_record_that_is_no_object_is_a_dead_letter(changes: Changes, after: bytes) -> None:
    """Whatever JSON it is; the records around it go on."""
    wrong = change("c", 10, key="8")
    wrong = msgspec.structs.replace(wrong, data=msgspec.structs.replace(wrong.data, after=msgspec.Raw(after)))
    folded = tell(changes, change("c", 10, ACME), wrong, change("c", 10, BORG, key="9"))
    assert [letter.key for letter in folded.letters] == ["8"]
    assert len(said(folded)) == 2


@pytest.mark.parametrize(
    "after", [b'{"name":"\xff"}', b'{"name":"\\ud800"}', b'{"name":"a\x01b"}', b'{"a":' * 90_000 + b"1" + b"}" * 90_000]
)
def test_a_record_that_reads_as_no_json_is_a_dead_letter(changes: Changes, after: bytes) -> None:
    """No UTF-8, half a surrogate pair, a raw control character, nested too deeply: the others go on."""
    wrong = change("c", 10, key="8")
    line = wire.encode(wrong).replace(b'"after":{}', b'"after":' + after)
    bodies = [*packed([change("c", 10, ACME)]), next(wire.pack(0, wire.CHANGE, [line])).body]
    folded = changes.fold(bodies, 1)
    assert len(folded.letters) == 1
    assert len(said(folded)) == 1


def test_a_corrupt_event_is_a_dead_letter_and_the_others_go_on(changes: Changes) -> None:
    """Bytes that do not unpack, and a line within a good event that does not decode."""
    (good,) = packed([change("c", 10, ACME)])
    (mixed,) = (
        event.body for event in wire.pack(0, wire.CHANGE, [b'{"id":1}', wire.encode(change("c", 10, BORG, key="8"))])
    )
    folded = changes.fold([good[:-4], b"garbage", mixed, good], 1)
    assert len(folded.letters) == 3
    assert {letter.body for letter in folded.letters} == {good[:-4], b"garbage", b'{"id":1}'}
    assert len(said(folded)) == 2


def test_every_forwarded_version_is_a_row_of_the_history(changes: Changes) -> None:
    """Late ones as well; what was dropped is none."""
    given = [change("c", 20, ACME), change("r", 30, ACME), change("r", 10, BORG)]
    told = ndjson(tell(changes, *given).outbox.columns["Changes"])
    rows = [msgspec.json.decode(row) for row in told.splitlines()]
    assert [row["EventId"] for row in rows] == [given[0].id, given[2].id]
    assert rows[0]["After"] == ACME
    assert rows[0]["EntityId"] == place("de1").entity_id


def test_an_empty_batch_changes_nothing(changes: Changes) -> None:
    """No lines, no rows, no letters."""
    folded = changes.fold([], 1)
    assert folded.outbox == Outbox()
    assert not folded.letters


def _history() -> list[wire.Change]:
    return [
        change("c", 10, ACME),
        change("r", 20, ACME),
        change("u", 30, {"tax_id": "DE2"}),
        change("d", 10, key="8"),
        change("c", 10, {}, key="9"),
        change("u", 12, {"name": "Cyb"}, key="9"),
        change("c", 10, {"customer": "c1", "amount": "5"}, source="erp", stream="orders"),
    ]


@pytest.mark.parametrize("how", ["entries", "snapshot", "both"])
def test_what_follows_a_restart_is_what_would_have_followed(config: Config, how: str) -> None:
    """State read back from entries, from a snapshot or from both folds like the state that wrote it."""
    live = changes_of(config)
    entries = [tell(live, one).body for one in _history()[:4]]
    snapshot = live.snapshot()
    later = [tell(live, one).body for one in _history()[4:]]
    restarted = changes_of(config)
    match how:
        case "entries":
            restarted.load(b"", entries + later)
        case "snapshot":
            restarted.load(live.snapshot(), [])
        case _:
            restarted.load(snapshot, later)
    assert restarted.snapshot() == live.snapshot()
    after = [
        change("r", 5, BORG),
        change("r", 5, BORG, key="8"),
        change("r", 40, {**ACME, "tax_id": "DE3"}),
        change("u", 11, {"tax_id": "DE9"}, key="9"),
    ]
    for commit, one in enumerate(after, 100):
        assert live.fold(packed([one]), commit) == restarted.fold(packed([one]), commit)
    assert (restarted.duplicates, restarted.unchanged) == (live.duplicates, live.unchanged)


def test_loading_forgets_what_was_folded_before(config: Config) -> None:
    """After a lost fence, only what the log says is known."""
    changes = changes_of(config)
    tell(changes, change("c", 10, ACME))
    changes.load(b"", [])
    assert not changes.records.index
    assert len(said(tell(changes, change("c", 10, ACME)))) == 1

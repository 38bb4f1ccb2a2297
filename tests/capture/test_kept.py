"""What people read afterwards: dead letters and status."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from flockiq.shared.deadletters import MAX_BODY_BYTES, DeadLetter, bury
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings
from flockiq.shared.status import StreamStatus, arrived, statuses, touch
from tests.capture.conftest import Ledger

LETTER = DeadLetter(
    stage="merge", source="crm", stream="accounts", key="7", field="at", reason="is no time", body=b"{}", at_us=10**15
)


async def test_a_letter_buried_twice_is_kept_once(services: Services, ledger: Ledger) -> None:
    """Same record, same reason, same blob; its row comes again with the same id."""
    await bury(services, [LETTER, LETTER])
    await bury(services, [LETTER])
    (path,) = await services.blobs.list("dead-letters/")
    assert path.startswith("dead-letters/default/merge/2001-09-09/")
    assert {row["Id"] for row in ledger.rows["DeadLetters"]} == {Path(path).stem}
    assert {row["Path"] for row in ledger.rows["DeadLetters"]} == {path}


async def test_a_record_is_kept_whole_whatever_its_bytes(services: Services) -> None:
    """Text as text, other bytes in base64, and what is beyond the limit is said to be cut."""
    bodies = [b'{"a": "\xc3\xbc"}', b"\xff\xfe", b"x" * (MAX_BODY_BYTES + 1)]
    await bury(services, [msgspec.structs.replace(LETTER, body=body) for body in bodies])
    kept = [msgspec.json.decode(await services.blobs.get(path)) for path in await services.blobs.list("dead-letters/")]
    assert {letter.get("Record", "")[:20] for letter in kept} == {'{"a": "ü"}', "", "x" * 20}
    assert [letter["RecordBase64"] for letter in kept if "RecordBase64" in letter] == ["//4="]
    assert [letter["Cut"] for letter in kept if "Cut" in letter] == [True]


async def test_letters_are_listed_in_the_eventhouse(tmp_path: Path) -> None:
    """The row fits table DeadLetters."""
    opened = connect(Settings(data=tmp_path))
    try:
        await bury(opened, [LETTER])
        await opened.analytics.flush()
        table = await opened.analytics.query("DeadLetters | project Stage, Source, Key, Field, Reason")
        assert [list(row) for row in table.rows] == [["merge", "crm", "7", "at", "is no time"]]
    finally:
        await opened.close()


async def test_a_status_told_by_many_at_once_loses_nothing(services: Services) -> None:
    """Every arrival counts, whoever writes first."""
    await asyncio.gather(*(touch(services, "crm", "accounts", arrived(us, 2, us)) for us in range(1, 6)))
    await touch(services, "erp", "orders", arrived(9, 0))
    assert await statuses(services) == {
        ("crm", "accounts"): StreamStatus(
            last_run_us=5, last_record_us=5, last_source_us=5, records=10, outcome="delivered"
        ),
        ("erp", "orders"): StreamStatus(last_run_us=9, outcome="delivered"),
    }

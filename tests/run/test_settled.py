"""When an app has come to rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from flockiq.local.settled import _waiting
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.progress import Notes, Progress
from flockiq.shared.services import connect
from flockiq.shared.settings import Settings


@pytest.mark.parametrize(("hub", "function"), [("files", "capture_file"), ("changes", "merge_changes")])
async def test_what_a_function_has_not_worked_off_is_no_rest(hub: str, function: str, tmp_path: Path) -> None:
    """Though nothing moves: a function that never began, and one that stands still."""
    services = connect(Settings(data=tmp_path))
    assert await _waiting(services) == 0
    await services.events.publish(hub, [OutgoingEvent(0, b"1"), OutgoingEvent(0, b"2")])
    assert await _waiting(services) == 2
    for last, waiting in ((0, 1), (1, 0)):
        await Notes(services, function, 0).note(Progress(last))
        assert await _waiting(services) == waiting
    await services.close()

"""Owners that live in one process: what they fold, and when."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from flockiq.shared.outbox import Outbox
from flockiq.shared.owner import Folded, Input, Owner
from tests.pipeline.partition import open_services


class Slow:
    """State that takes a while to fold a batch, and notes when it does."""

    duplicates = too_late = 0

    def __init__(self, folding: list[str], name: str) -> None:
        self.folding = folding
        self.name = name

    def load(self, snapshot: bytes, entries: Sequence[bytes]) -> None:
        """Nothing is kept."""

    def fold(self, bodies: Sequence[bytes], commit: int) -> Folded:
        """Note that it began, wait, note that it ended."""
        assert threading.current_thread() is not threading.main_thread()
        self.folding.append(f"{self.name} begins {commit}")
        time.sleep(0.01)
        self.folding.append(f"{self.name} ends {commit}")
        return Folded(b"", Outbox(), records=len(bodies))

    def snapshot(self) -> bytes:
        """Nothing."""
        return b""


async def test_the_batches_of_one_process_are_folded_one_after_another(tmp_path: Path) -> None:
    """Side by side each would take as long as all of them: none waits for more than those that came before it."""
    services, folding = open_services(tmp_path), list[str]()
    owners = [Owner(services, f"process_resolved/{number}", Slow(folding, str(number))) for number in range(4)]
    await asyncio.gather(*(owner.process([Input(0, b"")]) for owner in owners))
    await services.close()
    begun = [step.split()[0] for step in folding[::2]]
    assert sorted(begun) == ["0", "1", "2", "3"]
    assert folding == [f"{name} {step} 1" for name in begun for step in ("begins", "ends")]

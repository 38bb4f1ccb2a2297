"""Records of one run on their way to the hub: good ones as lines, bad ones as dead letters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from flockiq.capture.publish import HUB, Lines, publish
from flockiq.capture.records import Reader, Record, Taken
from flockiq.shared.config.sources import Source
from flockiq.shared.deadletters import DeadLetter, bury
from flockiq.shared.errors import BadRecord, SourceError
from flockiq.shared.positions import Position
from flockiq.shared.services import Services

FEW: Final = 20  # records too few to judge a source by
MAX_BAD_SHARE: Final = 0.5  # beyond it the config is wrong, not the records


class Batch:
    """A run's records, published as often as ``publish`` is called. Counts ``row`` up over the run."""

    def __init__(self, services: Services, source: Source, stream: str, partitions: int) -> None:
        self._services = services
        self._source = source.source
        self._stream = stream
        self._reader = Reader(source.streams[stream], nesting=source.limits.nesting)
        self._lines = Lines(services.settings.tenant, source.source, stream, partitions)
        self._letters: list[DeadLetter] = []
        self._taken = 0
        self._bad = 0
        self._worst = ""
        self.run = 0
        self.run_us = 0  # stands in for a source time that is missing
        self.row = 0
        self.greatest_us = 0  # source time

    def begin(self, run: int, run_us: int) -> None:
        """Positions from here on are of this run."""
        self.run, self.run_us = run, run_us

    @property
    def size(self) -> int:
        """Bytes of lines held."""
        return self._lines.size

    @property
    def records(self) -> int:
        """Records held."""
        return self._lines.records

    def take(
        self,
        record: Record,
        captured_us: int,
        op: Literal["r", "u"] = "r",
        *,
        known: Callable[[Taken], bool] | None = None,
    ) -> Taken | None:
        """Add one record; None if it is set aside instead. ``op``: whether it is whole or tells changes.

        What is ``known`` as it is needs no telling, and is not added.
        """
        self._taken += 1
        try:
            taken = self._reader.take(record)
            if known is not None and known(taken):
                self.greatest_us = max(self.greatest_us, taken.us)
                return taken
            said = op if taken.op == "r" else taken.op
            position = Position(taken.us or self.run_us, self.run, self.row)
            self._lines.add(said, taken.key, taken.after, position, captured_us)
        except BadRecord as error:
            self._letter(error, msgspec.json.encode(record), captured_us)
            return None
        self.row += 1
        self.greatest_us = max(self.greatest_us, taken.us)
        return taken

    def delete(self, key: str, captured_us: int) -> None:
        """Add the deletion of a record, which has no time but the run's."""
        self._lines.add("d", key, b"{}", Position(self.run_us, self.run, self.row), captured_us)
        self.row += 1

    def set_aside(self, error: BadRecord, body: bytes, at_us: int) -> None:
        """Keep what can't be taken as a dead letter."""
        self._taken += 1
        self._letter(error, body, at_us)

    def judge(self) -> None:
        """SourceError when most records since the last call were bad: dead letters would only hide it."""
        taken, bad, self._taken, self._bad = self._taken, self._bad, 0, 0
        if taken >= FEW and bad > taken * MAX_BAD_SHARE:
            raise SourceError(f"{bad:,} of {taken:,} records can't be taken, the last because {self._worst}")

    async def publish(self) -> int:
        """Bury and publish what is held; how many records went out. TransientError: call it again."""
        await bury(self._services, self._letters)
        self._letters.clear()
        outgoing = self._lines.events()
        await publish(self._services.events, HUB, outgoing)
        records = self._lines.records
        self._lines.clear()
        return records

    def _letter(self, error: BadRecord, body: bytes, at_us: int) -> None:
        self._bad += 1
        self._worst = str(error)
        self._letters.append(
            DeadLetter(
                stage="capture",
                source=self._source,
                stream=self._stream,
                field=error.field,
                reason=error.reason,
                body=body,
                at_us=at_us,
            )
        )

"""Records of one run on their way to the hub: good ones as lines, bad ones as dead letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final, Literal

import msgspec

from flockiq.capture.publish import HUB, Lines, publish
from flockiq.capture.records import Reader, Record, Taken
from flockiq.capture.sheet import Sheet
from flockiq.capture.taking import taken_of
from flockiq.shared.config.sources import Source
from flockiq.shared.deadletters import DeadLetter, bury
from flockiq.shared.errors import BadRecord, SourceError
from flockiq.shared.positions import Position
from flockiq.shared.services import Services

type Untold = Callable[[Sequence[Taken]], Sequence[Taken]]
"""Those of a page's records that are not known as they are."""

FEW: Final = 20  # records too few to judge a source by
MAX_BAD_SHARE: Final = 0.5  # beyond it the config is wrong, not the records


class Batch:
    """A run's records, published as often as ``publish`` is called. Counts ``row`` up over the run."""

    def __init__(self, services: Services, source: Source, stream: str, partitions: int) -> None:
        self._services = services
        self._source = source.source
        self._stream = stream
        self._config = source.streams[stream]
        self._nesting = source.limits.nesting
        self._reader = Reader(self._config, nesting=self._nesting)
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
        untold: Untold = list,
        event: Record | None = None,
    ) -> Taken | None:
        """Add one record; None if it is set aside instead. ``op``: whether it is whole or tells changes.

        What is not ``untold`` needs no telling, and is not added. ``event`` is what told of it, and is then set
        aside in its place.
        """
        self._taken += 1
        try:
            taken = self._reader.take(record)
            for each in untold([taken]):
                said = op if taken.op == "r" else taken.op
                self._lines.add(said, each, Position(self.run_us, self.run, self.row), captured_us)
                self.row += 1
        except BadRecord as error:
            body = msgspec.json.encode(record if event is None else event, order="sorted")
            self._letter(error, body, captured_us, told=event is not None)
            return None
        self.greatest_us = max(self.greatest_us, taken.us)
        return taken

    def take_page(self, records: Sequence[Record], captured_us: int, *, untold: Untold) -> Sequence[Taken | Record]:
        """Add records as ``take`` does; what was taken of each, or the record itself if it is set aside.

        A Sheet is read at once.
        """
        if not isinstance(records, Sheet):
            return [self.take(record, captured_us, untold=untold) or record for record in records]
        found = taken_of(records, self._config, nesting=self._nesting)
        if len(all_taken := [taken for taken in found if taken is not None]) == len(found):
            return self._add_all(all_taken, captured_us, untold)
        done: list[Taken | Record] = []
        for is_taken, some in groupby(enumerate(found), key=lambda numbered: numbered[1] is not None):
            if is_taken:
                done += self._add_all([taken for _, taken in some if taken is not None], captured_us, untold)
            else:
                done += self.take_page([records[number] for number, _ in some], captured_us, untold=untold)
        return done

    def _add_all(self, taken: Sequence[Taken], captured_us: int, untold: Untold) -> Sequence[Taken]:
        told = untold(taken)
        self._taken += len(taken)
        self._lines.add_all("r", told, Position(self.run_us, self.run, self.row), captured_us)
        self.row += len(told)
        self.greatest_us = max(self.greatest_us, *(each.us for each in taken))
        return taken

    def delete(self, key: str, captured_us: int) -> None:
        """Add the deletion of a record, which has no time but the run's."""
        self._lines.add("d", Taken(key, 0, "d", b"{}"), Position(self.run_us, self.run, self.row), captured_us)
        self.row += 1

    def set_aside(self, error: BadRecord, body: bytes, at_us: int, *, told: bool = False) -> None:
        """Keep what can't be taken as a dead letter; ``told``: it is an event, not a record."""
        self._taken += 1
        self._letter(error, body, at_us, told=told)

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

    def _letter(self, error: BadRecord, body: bytes, at_us: int, *, told: bool = False) -> None:
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
                told=told,
            )
        )

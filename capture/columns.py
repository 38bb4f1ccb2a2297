"""The columns of a stream: declared or learned from its first page, and what becomes of what is new.

A change is told in the run's row of table Runs (outcome ``schema_changed``) and in the stream's
status, so that a rule can watch for it. Only what was acknowledged is kept as known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from flockiq.capture.records import Record, is_noise
from flockiq.shared.config.reading import ColumnKind, Columns
from flockiq.shared.errors import BadRecord, Conflict, LeaseLost, SourceError
from flockiq.shared.ports import Registry

MOST: Final = 2_000  # columns kept of a stream: keys that are data are no columns
_KINDS: Final[dict[bytes, ColumnKind]] = {
    b'"': "text",
    b"{": "object",
    b"[": "list",
    b"t": "boolean",
    b"f": "boolean",
}
_decode = msgspec.json.Decoder(dict[str, ColumnKind]).decode


def kind_of(raw: msgspec.Raw) -> ColumnKind | None:
    """What kind of JSON value this is; None for null, which fits every column."""
    first = bytes(raw)[:1]
    return None if first == b"n" else _KINDS.get(first, "number")


class ColumnsHeld:
    """The columns of one stream during one run. Does nothing where config says nothing of columns."""

    def __init__(self, config: Columns | None, registry: Registry, stream: str) -> None:
        self._config = config
        self._registry = registry
        self._key = f"columns/{stream}"
        self._etag: str | None = None
        self._known: dict[str, ColumnKind] = {}
        self._learning = False  # until the first page is taken
        self._changes: list[str] = []
        self._unkept = False

    async def load(self) -> None:
        """What is known: as declared and, where the stream evolves, as it became since."""
        if self._config is None:
            return
        document = await self._registry.get(self._key)
        self._etag = document.etag if document else None
        kept = _decode(document.value) if document else {}
        if self._config.declared and self._config.on_change != "evolve":
            kept = {}
        self._known = {**self._config.declared, **kept}
        self._learning = not self._known

    def check(self, record: Record) -> None:
        """Hold a record against the columns; values may be taken out of it.

        BadRecord: it is to be set aside. SourceError: the stream stops.
        """
        if self._config is None:
            return
        for name, raw in list(record.items()):
            kind = kind_of(raw)
            known = self._known.get(name)
            if kind is not None and known not in (kind, "any") and not is_noise(name):
                self._change(record, name, known, kind)

    def admitted(
        self, records: Sequence[Record], set_aside: Callable[[BadRecord, bytes, Record], None]
    ) -> list[Record]:
        """The records that may go on; of each other one ``set_aside`` hears why, with its JSON."""
        found: list[Record] = []
        for record in records:
            try:
                self.check(record)
            except BadRecord as error:
                set_aside(error, msgspec.json.encode(record, order="sorted"), record)
            else:
                found.append(record)
        return found

    def page_taken(self) -> None:
        """The first page has said what there is."""
        if self._known:
            self._learning = False

    async def keep(self) -> list[str]:
        """Store what was taken, once it is acknowledged; the changes to tell of."""
        if self._unkept:
            try:
                self._etag = await self._registry.put(self._key, msgspec.json.encode(self._known), self._etag)
            except Conflict as error:
                raise LeaseLost(f"{self._key} was written by another reader; this one stops") from error
            self._unkept = False
        changes, self._changes = self._changes, []
        return changes

    def _change(self, record: Record, name: str, known: ColumnKind | None, kind: ColumnKind) -> None:
        if self._learning:
            self._take(name, "any" if known else kind)
            return
        change = f"is {kind}, and was {known}" if known else f"is new ({kind})"
        match self._config.on_change if self._config else "evolve":
            case "evolve":
                self._take(name, "any" if known else kind)
                self._changes.append(f"{name} {change}")
            case "freeze":
                raise SourceError(
                    f"column {name} {change}, and the stream is frozen; declare it under columns, or set "
                    "columns: {on_change: evolve}"
                )
            case "discard_value":
                del record[name]
            case "dead_letter":
                raise BadRecord(f"{change}, which columns: does not admit", field=name)

    def _take(self, name: str, kind: ColumnKind) -> None:
        if name not in self._known and len(self._known) >= MOST:
            raise SourceError(f"the records have over {MOST:,} columns: their keys seem to be data; see records:")
        self._known[name] = kind
        self._unkept = True

"""A page of records that share their fields, read at once: decoded and written by field, not record by record.

Decoding into a struct whose fields are a stream's own, in the order in which records are written, costs
half of decoding into dictionaries and sorting each. What a page has that no page before it had is learned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, overload

import msgspec

from flockiq.capture.records import Record, is_noise

MOST_FIELDS: Final = 400  # records of more, all pages together, are read one by one
_MOST_TIMES: Final = 50  # that new fields are learned: fields that are data are no fields

_records = msgspec.json.Decoder(list[Record]).decode
_record = msgspec.json.Decoder(Record).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_lines = msgspec.json.Encoder().encode_lines


class Sheet(Sequence[Record]):
    """The records of one page. Each can be had as a ``Record``; ``lines`` and ``column`` are cheaper by far."""

    def __init__(self, names: Sequence[str], rows: list[Any]) -> None:
        self.names = names  # sorted
        self._rows = rows
        self._attributes = {name: f"f{number}" for number, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Record]: ...
    def __getitem__(self, at: int | slice) -> Record | Sequence[Record]:
        if isinstance(at, slice):
            return Sheet(self.names, self._rows[at])
        row = self._rows[at]
        values = ((name, getattr(row, attribute)) for name, attribute in self._attributes.items())
        return {name: value for name, value in values if value is not msgspec.UNSET}

    def column(self, name: str) -> list[bytes]:
        """The values of the field of that very name as they were written; b"" where there is none."""
        attribute = self._attributes.get(name)
        if attribute is None:
            return [b""] * len(self._rows)
        values = list(map(attrgetter(attribute), self._rows))
        try:
            return list(map(bytes, values))
        except TypeError:  # not every record has the field
            return [b"" if value is msgspec.UNSET else bytes(value) for value in values]

    def lines(self) -> bytes:
        """Every record as one line of JSON, its fields sorted, the protocol's own left out.

        A value that holds a line break itself makes more lines than there are records.
        """
        for attribute in (self._attributes[name] for name in self.names if is_noise(name)):
            for row in self._rows:
                setattr(row, attribute, msgspec.UNSET)
        return _lines(self._rows)


class Shape:
    """What fields the records of a stream have, as far as they were met."""

    def __init__(self) -> None:
        self._names: frozenset[str] = frozenset()
        self._sorted: tuple[str, ...] = ()
        self._decoder: msgspec.json.Decoder[Any] | None = None
        self._learned = 0

    def read(self, written: bytes | msgspec.Raw) -> tuple[Sequence[Record], list[bytes]]:
        """The records of a JSON list, and what stands among them without being one. DecodeError if it is none."""
        if self._decoder is not None:
            try:
                return Sheet(self._sorted, self._decoder.decode(written)), []
            except msgspec.ValidationError:
                pass  # a new field, or an item that is no record
        unreadable: list[bytes] = []
        try:
            records: list[Record] = _records(written)
        except msgspec.ValidationError:
            items = [bytes(item) for item in _items(written)]
            records = [_record(item) for item in items if item[:1] == b"{"]
            unreadable = [item for item in items if item[:1] != b"{"]
        self._learn(records)
        return records, unreadable

    def _learn(self, records: Iterable[Record]) -> None:
        met = self._names.union(*records)
        if met == self._names or self._learned >= _MOST_TIMES:
            return
        self._learned += 1
        self._names, self._sorted = met, tuple(sorted(met))
        if len(met) > MOST_FIELDS:
            self._decoder, self._learned = None, _MOST_TIMES
            return
        written = {f"f{number}": name for number, name in enumerate(self._sorted)}
        fields = [(attribute, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for attribute in written]
        row = msgspec.defstruct("Row", fields, rename=written, forbid_unknown_fields=True, gc=False)
        self._decoder = msgspec.json.Decoder(list[row])  # type: ignore[valid-type]  # made a line above

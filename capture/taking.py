"""A whole page's records made ready to travel at once, as ``records.Reader`` makes them one by one.

What is not as most records are is left to the reader: it alone says what a record means, and what is wrong
with one. A test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Final

import msgspec
import numpy as np

from flockiq.capture.asis import as_is
from flockiq.capture.moments import moments_of
from flockiq.capture.publish import SMALL
from flockiq.capture.records import LONGEST_KEY, Taken, key_of_parts, says_deleted, source_time
from flockiq.capture.sheet import Sheet
from flockiq.shared.config.sources import Stream
from flockiq.shared.errors import BadRecord

_NUMBER: Final = frozenset(b"-0123456789")
_QUOTE: Final = ord('"')


def taken_of(sheet: Sheet, stream: Stream, *, nesting: int) -> Sequence[Taken | None]:
    """Every record of a page as a reader takes it; None for those that one has to be asked about."""
    written = sheet.lines()
    plain = None if _reaches_inside(stream) else as_is(written, len(sheet), nesting)
    if plain is None:
        return [None] * len(sheet)
    lines, keys, (us, times) = written.split(b"\n"), _keys(sheet, stream), _times(sheet, stream)
    found: list[Taken | None] = list(map(Taken, keys, us, repeat("r"), lines, times))  # type: ignore[arg-type]  # see odd
    odd = _deleted(sheet, stream)
    if "" in keys or None in us:
        odd.update(number for number, key in enumerate(keys) if not key or us[number] is None)
    odd.update(np.flatnonzero(~plain).tolist())
    if max(map(len, lines)) > SMALL:
        odd.update(number for number, line in enumerate(lines[:-1]) if len(line) > SMALL)
    for number in odd:
        found[number] = None
    return found


def _reaches_inside(stream: Stream) -> bool:
    """Whether key, time or deletion lie inside an object of the record: ``attributes.changed_at``."""
    said = stream.deleted_when.field if stream.deleted_when is not None else ""
    return any("." in name for name in (*stream.primary_key, stream.modified, said))


def _keys(sheet: Sheet, stream: Stream) -> Sequence[str]:
    """The records' keys; "" where the reader has to look."""
    parts = [_texts(sheet.column(name)) for name in stream.primary_key]
    if len(parts) == 1:
        return parts[0]
    return [key_of_parts(some) if all(some) else "" for some in zip(*parts, strict=True)]


def _texts(column: Sequence[bytes]) -> Sequence[str]:
    """Texts or numbers that can be parts of keys, as text; "" for anything else."""
    whole = b"".join(column)
    if whole.count(b'"') == 2 * len(column) and b"\\" not in whole and {value[:1] for value in column} == {b'"'}:
        texts = [value[1:-1].decode() for value in column]
        if "".join(texts).isprintable() and max(map(len, texts)) <= LONGEST_KEY:
            return texts
    return list(map(_text, column))


def _text(written: bytes) -> str:
    """A text or number that can be a part of a key, as text; "" for anything else."""
    first = written[0] if written else 0
    if first == _QUOTE and b"\\" not in written:
        text = written[1:-1].decode()
    elif first in _NUMBER:
        text = written.decode()
    else:
        return ""
    return text if len(text) <= LONGEST_KEY and text.isprintable() else ""


def _times(sheet: Sheet, stream: Stream) -> tuple[Sequence[int | None], Sequence[bytes]]:
    """The records' source times in µs, 0 where there is none and None where the reader has to look; and as text."""
    none = [b""] * len(sheet)
    column = sheet.column(stream.modified)
    if not any(column):
        return [0] * len(sheet), none
    if (found := moments_of(column)) is not None:
        return found
    return [_time(written, stream.modified) for written in column], none


def _time(written: bytes, field: str) -> int | None:
    try:
        return source_time(msgspec.Raw(written), field) if written else 0
    except BadRecord:
        return None


def _deleted(sheet: Sheet, stream: Stream) -> set[int]:
    """The places of records that say of themselves that they were deleted, or don't say it as they should."""
    rule = stream.deleted_when
    if rule is None:
        return set()
    column = sheet.column(rule.field)
    meant = {written: _means_deleted(written, stream) for written in set(column)}
    return {number for number, written in enumerate(column) if meant[written]}


def _means_deleted(written: bytes, stream: Stream) -> bool:
    rule = stream.deleted_when
    try:
        return rule is not None and bool(written) and says_deleted(rule, msgspec.Raw(written))
    except BadRecord:
        return True

"""Parameters with placeholders: ``updated_since: "{since}"`` becomes what the source is asked."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final

from flockiq.capture.protocols.page import At
from flockiq.shared.config.reading import TimeFormat, Watermark
from flockiq.shared.config.sources import Stream
from flockiq.shared.errors import SourceError
from flockiq.shared.instants import instant_us

_PLACE: Final = re.compile(r"\{(since|until|time|key|select|path|page_size)\}")
_BOUND: Final = re.compile(r"\{(since|until|from|to|ids)\}")
_HARMLESS: Final = re.compile(r"[\w.:@+~-]{1,512}", re.ASCII)  # can't end a literal or begin an operator
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def phrased(parameters: Mapping[str, str], words: Mapping[str, str]) -> dict[str, str]:
    """``parameters`` with every placeholder replaced that ``words`` knows.

    SourceError for a value from a record that might mean something else inside an expression.
    """
    return {name: _phrase(name, text, words) for name, text in parameters.items()}


def bounded(parameters: Mapping[str, str], words: Mapping[str, str]) -> dict[str, str]:
    """``parameters`` with the placeholders of a slice's bounds replaced; all others stay."""
    return {name: _BOUND.sub(lambda found: words.get(found[1], found[0]), text) for name, text in parameters.items()}


def standing(stream: Stream) -> dict[str, str]:
    """The words that are the same for every request of a stream."""
    said = stream.deleted_when.field if stream.deleted_when else ""
    needed = (*stream.primary_key, stream.modified, said)  # whatever else is asked for
    select = ",".join(dict.fromkeys(name for name in (*needed, *stream.select) if name)) if stream.select else ""
    return {"select": select, "path": stream.path, "page_size": str(stream.page_size)}


def window(incremental: Watermark, at: At) -> dict[str, str] | None:
    """{since} and {until}; None if the read is of everything."""
    since_us = at.since_us or beginning_us(incremental)
    if not since_us and not incremental.start:
        return None
    return {"since": written(since_us, incremental.format), "until": written(at.until_us, incremental.format)}


def beginning_us(incremental: Watermark) -> int:
    """Where the first read begins, as config says; 0 if it does not."""
    return instant_us(incremental.start, dt.UTC) if incremental.start else 0


def written(us: int, form: TimeFormat, as_it_came: str = "") -> str:
    """A time as a source wants to be told it: down, never up, so that nothing is passed over."""
    match form:
        case "as_written":
            return as_it_came
        case "epoch_s":
            return str(us // 1_000_000)
        case "epoch_ms":
            return str(us // 1_000)
        case "date":
            return (_EPOCH + dt.timedelta(microseconds=us)).date().isoformat()
        case "rfc3339":
            precision = "seconds" if us % 1_000_000 == 0 else "milliseconds" if us % 1_000 == 0 else "microseconds"
            moment = _EPOCH + dt.timedelta(microseconds=us)
            return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def _phrase(name: str, text: str, words: Mapping[str, str]) -> str:
    def word(found: re.Match[str]) -> str:
        value = words.get(found[1])
        if value is None:
            return found[0]
        foreign = found[1] in ("key", "time") and found[0] != text
        if foreign and not _HARMLESS.fullmatch(value):
            raise SourceError(
                f"a record's {found[1]} holds characters that {name}: can't carry inside an expression; page by a "
                "field of plain letters and digits"
            )
        return value

    return _PLACE.sub(word, text)

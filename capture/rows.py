"""The rows of a file, however it is written; a bad row is told of and passed over."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from flockiq.capture import columnar, separated
from flockiq.capture.badrow import BadRow
from flockiq.capture.records import Record
from flockiq.capture.unpacked import contents
from flockiq.shared import wire
from flockiq.shared.config.files import Csv, FileFormat, Ndjson, Parquet

_LONGEST_LINE: Final = wire.MAX_LINE_BYTES  # a record of more can't travel
_BOM: Final = b"\xef\xbb\xbf"
_BLANK: Final = re.compile(rb"\s*")

_record = msgspec.json.Decoder(Record).decode


def rows(body: bytes, written: FileFormat, limit: int) -> Iterator[Record | BadRow]:
    """Every row of a file, bad ones as BadRow. ``limit``: most bytes that may come out of it, unpacked.

    BadRecord: what comes after is of no use.
    """
    match written:
        case Csv():
            for content in contents(body, limit):
                yield from separated.rows(content, written)
        case Ndjson():
            for content in contents(body, limit):
                yield from _lines(content)
        case Parquet():
            yield from columnar.rows(body, limit)


def _lines(content: io.BufferedReader) -> Iterator[Record | BadRow]:
    """One JSON object a line (jsonlines.org); blank lines are none."""
    number = 0
    while line := content.readline(_LONGEST_LINE):
        number += 1
        if number == 1:
            line = line.removeprefix(_BOM)  # the mark is no part of the line
        if len(line) >= _LONGEST_LINE and not line.endswith(b"\n"):
            while (rest := content.readline(_LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield BadRow(f"is longer than {_LONGEST_LINE:,} bytes", line[:1_000], number)
        elif not _BLANK.fullmatch(line):
            yield _object(line, number)


def _object(line: bytes, number: int) -> Record | BadRow:
    try:
        str(line, "utf-8")  # values stay raw: what is no text must not travel on
        return _record(line)  # type: ignore[no-any-return]  # the decoder's type is an alias
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return BadRow(f"is no JSON object: {error}"[:200], line.rstrip(b"\r\n"), number)

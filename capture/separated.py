"""Separated values (CSV) as records, row by row; a bad row is told of and passed over."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from flockiq.capture.records import Record
from flockiq.shared.config.files import Csv
from flockiq.shared.errors import BadRecord

_LONGEST_VALUE: Final = 800_000  # characters; the csv module's own bound is raised to ours
_MARKED: Final = {"utf-8": "utf-8-sig"}  # a byte order mark is not part of the first column's name
_NULL: Final = msgspec.Raw(b"null")


class BadRow(BadRecord):
    """A row that is no record; ``row`` is what could be read of it."""

    def __init__(self, reason: str, row: Sequence[str], number: int) -> None:
        super().__init__(f"row {number:,} {reason}")
        self.row = row


def rows(body: bytes, written: Csv) -> Iterator[Record | BadRow]:
    """Every row after the header, bad ones as BadRow. BadRecord if there is no usable header."""
    # Undecodable bytes become lone surrogates, so that only their own row is bad.
    encoding = _MARKED.get(written.encoding, written.encoding)
    text = io.TextIOWrapper(io.BytesIO(body), encoding, errors="surrogateescape", newline="")
    csv.field_size_limit(_LONGEST_VALUE)
    reader = csv.reader(text, delimiter=written.delimiter, quotechar=written.quote, strict=True)
    header = _header(reader, written)
    yield from _rows(reader, header, written)


def _header(reader: Iterator[list[str]], written: Csv) -> list[str]:
    try:
        header = [name.strip() for name in next(reader)]
    except StopIteration as error:
        raise BadRecord("the file is empty, without even a header") from error
    except (csv.Error, UnicodeError) as error:
        raise BadRecord(f"the header can't be read as {written.encoding}: {error}") from error
    if not all(name and name.isprintable() for name in header) or len(set(header)) < len(header):
        raise BadRecord(f"the header names a column twice, or not at all: {', '.join(header)[:200]!r}")
    return header


def _rows(reader: Iterator[list[str]], header: list[str], written: Csv) -> Iterator[Record | BadRow]:
    number = 1
    while True:
        number += 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(f"is not well-formed: {error}", (), number)
            continue
        except UnicodeError as error:  # UTF-16 cut in the middle of a character: nothing after it can be read
            yield BadRow(f"and all after it can't be read: {error}", (), number)
            return
        if len(row) == len(header):
            try:
                yield {name: _value(value, written) for name, value in zip(header, row, strict=True)}
            except UnicodeEncodeError:
                yield BadRow(f"is not {written.encoding} text", row, number)
        elif row:
            yield BadRow(f"has {len(row)} values where the header has {len(header)}", row, number)


def _value(value: str, written: Csv) -> msgspec.Raw:
    if not value and written.empty_is_null:
        return _NULL
    return msgspec.Raw(msgspec.json.encode(value))

"""Separated values (CSV) as records, row by row; a bad row is told of and passed over."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import msgspec

from flockiq.capture.badrow import BadRow
from flockiq.capture.records import Record
from flockiq.shared.config.files import Csv
from flockiq.shared.errors import BadRecord

_LONGEST_VALUE: Final = 800_000  # characters; the csv module's own bound is raised to ours
_LONGEST_LINE: Final = 2_000_000  # characters; what is longer has no line breaks where they belong
_MARKS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_NULL: Final = msgspec.Raw(b"null")


def rows(content: io.BufferedReader, written: Csv) -> Iterator[Record | BadRow]:
    """Every row after the header, bad ones as BadRow. BadRecord if there is no usable header."""
    begins = content.peek(3)
    encoding = next((named for mark, named in _MARKS if begins.startswith(mark)), written.encoding)
    # Undecodable bytes become lone surrogates, so that only their own row is bad.
    text = io.TextIOWrapper(content, encoding, errors="surrogateescape", newline="")
    csv.field_size_limit(_LONGEST_VALUE)
    lines = islice(_lines(text), written.skip, None)
    reader = csv.reader(
        lines,
        delimiter=written.delimiter,
        quotechar=written.quote or None,
        quoting=csv.QUOTE_MINIMAL if written.quote else csv.QUOTE_NONE,
        escapechar=written.escape or None,
        strict=True,
    )
    header = list(written.columns) or _header(reader, written)
    yield from _rows(reader, header, written, 0 if written.columns else 1)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Lines with their ends, none of them endless."""
    while line := text.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            raise BadRecord(f"a line is longer than {_LONGEST_LINE:,} characters; see the format and the encoding")
        yield line


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


def _rows(reader: Iterator[list[str]], header: Sequence[str], written: Csv, number: int) -> Iterator[Record | BadRow]:
    while True:
        number += 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(f"is not well-formed: {error}", b"", number)
            continue
        except UnicodeError as error:  # UTF-16 cut in the middle of a character: nothing after it can be read
            yield BadRow(f"and all after it can't be read: {error}", b"", number)
            return
        if len(row) == len(header):
            try:
                yield {name: _value(value, written) for name, value in zip(header, row, strict=True)}
            except UnicodeEncodeError:
                yield BadRow(f"is not {written.encoding} text", _shown(row), number)
        elif row:
            yield BadRow(f"has {len(row)} values where the header has {len(header)}", _shown(row), number)


def _value(value: str, written: Csv) -> msgspec.Raw:
    if not value and written.empty_is_null:
        return _NULL
    return msgspec.Raw(msgspec.json.encode(value))


def _shown(row: Sequence[str]) -> bytes:
    return msgspec.json.encode([value.encode("utf-8", "backslashreplace").decode() for value in row])

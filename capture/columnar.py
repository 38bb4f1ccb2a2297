"""Parquet files as records: arrow-rs reads them, and writes their rows as JSON.

Timestamps become RFC 3339 text (without a zone where the column has none), decimals keep all
their digits, binary becomes hexadecimal text. A column that is null in a row is null in the record.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

import msgspec

from flockiq.capture.badrow import BadRow
from flockiq.capture.records import Record
from flockiq.capture.unpacked import Allowance
from flockiq.shared.errors import BadRecord, ConfigError, Problem

_MAGIC: Final = b"PAR1"
_ROWS: Final = 100  # unpacked at a time: a dictionary may hold one large value for all of them

_record = msgspec.json.Decoder(Record).decode


def rows(body: bytes, limit: int) -> Iterator[Record | BadRow]:
    """Every row. BadRecord if it is no Parquet file, damaged, or unpacks to more than ``limit`` bytes."""
    if not (body.startswith(_MAGIC) and body.endswith(_MAGIC)):
        raise BadRecord("it is no Parquet file, or cut short: it must begin and end with PAR1")
    allowance = Allowance(limit)
    for batch in _batches(body):
        allowance.spend(len(batch))
        for line in batch.splitlines():
            yield _record(line)


def _batches(body: bytes) -> Iterator[bytes]:
    """NDJSON of some rows at a time."""
    try:
        from arro3.core import RecordBatchReader  # noqa: PLC0415 - 12 MB that only readers of Parquet need
        from arro3.io import read_parquet, write_ndjson  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            [Problem("format", 0, "kind", "parquet can't be read here", "add arro3-io to requirements.txt")]
        ) from error
    try:
        reader = read_parquet(body, batch_size=_ROWS)
        for batch in reader:
            written = io.BytesIO()
            write_ndjson(RecordBatchReader.from_batches(batch.schema, [batch]), written, explicit_nulls=True)
            yield written.getvalue()
    except GeneratorExit:
        raise
    except BaseException as error:
        # What arrow-rs does not expect in a file arrives as a PanicException, which is no Exception.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise BadRecord(f"it can't be read as Parquet: {error}"[:300]) from error
        raise

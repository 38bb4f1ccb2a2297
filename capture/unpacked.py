"""What is in a file: its own bytes, or those of the files packed in it; never more than allowed.

Packing is told by content, not by name: gzip (RFC 1952) begins 1f 8b, zip (APPNOTE 4.3.7) PK 03 04.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final, override

from flockiq.shared.errors import BadRecord

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_MEMBERS: Final = 1_000  # of a zip file
_ENCRYPTED: Final = 1  # flag bit 0


class Allowance:
    """How many bytes may still come out of a file."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit

    def spend(self, count: int) -> None:
        """BadRecord once more than the limit has come out."""
        self._left -= count
        if self._left < 0:
            raise BadRecord(f"it unpacks to over {self._limit:,} bytes; limits.unpacked_bytes says how many may come")


def contents(body: bytes, limit: int) -> Iterator[io.BufferedReader]:
    """The bytes of a file as a stream; of a zip file one for each file in it, by name.

    BadRecord, also from the streams: damaged, encrypted, or more than ``limit`` bytes.
    """
    allowance = Allowance(limit)
    if body.startswith(_GZIP):
        yield _bounded(gzip.GzipFile(fileobj=io.BytesIO(body)), allowance)
    elif body.startswith(_ZIP):
        yield from _members(body, allowance)
    else:
        yield io.BufferedReader(io.BytesIO(body))


def _members(body: bytes, allowance: Allowance) -> Iterator[io.BufferedReader]:
    with _damage_told(), zipfile.ZipFile(io.BytesIO(body)) as archive:
        members = [member for member in archive.infolist() if not _is_beside(member)]
        if len(members) > _MEMBERS:
            raise BadRecord(f"it holds {len(members):,} files; at most {_MEMBERS:,} are taken")
        for member in sorted(members, key=lambda member: member.filename):
            if member.flag_bits & _ENCRYPTED:
                raise BadRecord(f"{member.filename[:100]!r} in it is encrypted; pack it without a password")
            with archive.open(member) as packed:
                yield _bounded(packed, allowance)


def _is_beside(member: zipfile.ZipInfo) -> bool:
    """Folders, and what systems put beside the files (.DS_Store, __MACOSX/)."""
    names = member.filename.rstrip("/").split("/")
    return member.is_dir() or names[0] == "__MACOSX" or names[-1].startswith(".")


def _bounded(packed: IO[bytes] | gzip.GzipFile, allowance: Allowance) -> io.BufferedReader:
    return io.BufferedReader(_Bounded(packed, allowance))


class _Bounded(io.RawIOBase):
    """A packed stream that spends its allowance as it is read."""

    def __init__(self, packed: IO[bytes] | gzip.GzipFile, allowance: Allowance) -> None:
        self._packed = packed
        self._allowance = allowance

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # BufferedReader gives a memoryview
        with _damage_told():
            some = self._packed.read(len(buffer))
        self._allowance.spend(len(some))
        buffer[: len(some)] = some
        return len(some)


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise BadRecord(f"it is damaged, cut short or packed in an unknown way: {error}"[:300]) from error

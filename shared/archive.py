"""A system's state in one file: members with checksums, and a manifest that says what they are.

It is a zip file whose members are compressed by zstd. The manifest is written last, so a file without one was
never finished; a file is read only if every member is what the manifest says.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
import zstandard

from flockiq.shared.errors import FlockIQError, StateCorrupt

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
_MAX_BYTES: Final = 4 << 30  # of a member; our own writing, so only a guard


class Manifest(msgspec.Struct, kw_only=True):
    """What an archive holds."""

    format: int
    flockiq: str  # the version that wrote it
    tenant: str
    exported_us: int
    partitions: dict[str, int]  # of hubs changes and resolved
    marks: dict[str, int]  # by state log: when the last event it has folded was enqueued, µs; 0 if nobody knows
    counts: dict[str, int]
    members: dict[str, str] = {}  # name to SHA-256 of what is in the zip file

    @property
    def identity(self) -> str:
        """What tells this archive from others."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


type Step = Callable[[str, float], None]
"""Told what is done next, and how much of the whole is behind: from 0 to 1."""


class Way:
    """What is behind of so many things to do."""

    def __init__(self, step: Step, things: int) -> None:
        self._step, self._things, self._begun = step, things, 0

    def next(self, what: str) -> None:
        """Say what is begun."""
        self._step(what, self._begun / self._things)
        self._begun += 1


class Writing:
    """An archive being written beside its place, where it is put once it is whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._members: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            descriptor = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise FlockIQError(f"{self._path} can't be written: {error.strerror}.") from error
        self._file = os.fdopen(descriptor, "w+b")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED)
        return self

    def add(self, name: str, body: bytes) -> None:
        """One member."""
        packed = zstandard.ZstdCompressor(level=3).compress(body)
        self._zip.writestr(name, packed)
        self._members[name] = hashlib.sha256(packed).hexdigest()

    def finish(self, manifest: Manifest) -> None:
        """Everything is there."""
        manifest = msgspec.structs.replace(manifest, members=self._members)
        self._zip.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        self._zip.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._partial.replace(self._path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._zip.close()
        self._file.close()
        self._partial.unlink(missing_ok=True)


class Archive:
    """An archive to be read; opening it holds every member against the manifest.

    StateCorrupt if it is damaged or was never finished; FlockIQError if it can't be read or is of a later format.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with zipfile.ZipFile(path) as file:
                self.manifest = msgspec.json.decode(file.read(MANIFEST), type=Manifest)
                if self.manifest.format > FORMAT:
                    newer = f"of format {self.manifest.format}, this FlockIQ reads up to {FORMAT}"
                    raise FlockIQError(f"{path} is {newer}: use FlockIQ {self.manifest.flockiq} or later.")
                for name, known in self.manifest.members.items():
                    if hashlib.sha256(file.read(name)).hexdigest() != known:
                        raise StateCorrupt(f"{path} is damaged: {name} is not what was written. Use another export.")
        except OSError as error:
            raise FlockIQError(f"{path} can't be read: {error.strerror}.") from error
        except (zipfile.BadZipFile, KeyError, msgspec.DecodeError, EOFError) as error:
            raise StateCorrupt(f"{path} is damaged, or no export of FlockIQ ({error}). Use another export.") from error

    def names(self, folder: str) -> list[str]:
        """The members of a folder, in order."""
        return sorted(name for name in self.manifest.members if name.startswith(f"{folder}/"))

    def read(self, name: str) -> bytes:
        """One member."""
        with zipfile.ZipFile(self._path) as file:
            packed = file.read(name)
        try:
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=_MAX_BYTES)
        except zstandard.ZstdError as error:
            raise StateCorrupt(f"{self._path} is damaged: {name} can't be unpacked. Use another export.") from error

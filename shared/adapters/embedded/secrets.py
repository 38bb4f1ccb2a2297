"""Secrets from the environment, or from one JSON file that only its owner can read."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from flockiq.shared.errors import ConfigError, NotFound, Problem
from flockiq.shared.secretnames import readable, writable

FILE_VARIABLE = "FLOCKIQ_SECRETS_FILE"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class EnvironmentSecrets:
    """Secrets over ``FLOCKIQ_SECRET_<NAME>``, then the JSON object in the file FLOCKIQ_SECRETS_FILE names.

    The variable has the name in capitals with ``_`` for ``-``. The environment is always current;
    the file is read once, and again when a ``fresh`` value is asked for.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._file: Mapping[str, str] | None = None

    async def get(self, name: str, *, fresh: bool = False) -> str:
        """See ``Secrets.get``. ConfigError if the file can't be read, or others than its owner can read it."""
        variable = f"FLOCKIQ_SECRET_{readable(name).upper().replace('-', '_')}"
        if variable in self._environment:
            return self._environment[variable]
        if self._file is None or fresh:
            self._file = self._read()
        if name in self._file:
            return self._file[name]
        raise NotFound(f"secret {name!r} is not set: set {variable}, or put it in the file that {FILE_VARIABLE} names")

    async def set(self, name: str, value: str) -> None:
        """See ``Secrets.set``: into the file, which is replaced whole. A variable can't be written."""
        variable = f"FLOCKIQ_SECRET_{writable(name).upper().replace('-', '_')}"
        if variable in self._environment:
            raise ConfigError(
                [Problem(variable, 0, "", "can't be replaced", f"unset it, and put it in the file of {FILE_VARIABLE}")]
            )
        named = self._environment.get(FILE_VARIABLE, "")
        if not named:
            raise ConfigError(
                [Problem(FILE_VARIABLE, 0, "", f"is not set, so secret {name} can't be kept", "a file of mode 600")]
            )
        # Nothing is awaited between reading and writing: one process, so no other writer comes between.
        kept = {**self._read(), name: value}
        _replace(Path(named), msgspec.json.encode(kept))
        self._file = kept

    async def close(self) -> None:
        """See ``Secrets.close``; forgets what was read."""
        self._file = None

    def _read(self) -> Mapping[str, str]:
        named = self._environment.get(FILE_VARIABLE, "")
        if not named:
            return {}
        path = Path(named)
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if mode & _OTHERS:
                    raise _refused(path, f"others can read it (mode {mode:o})", "chmod 600")
                return msgspec.json.decode(file.read(), type=dict[str, str])
        except OSError as error:
            raise _refused(path, f"can't be read: {error.strerror}", f"or unset {FILE_VARIABLE}") from error
        except (msgspec.DecodeError, UnicodeError):
            # Not chained: what the decoder quotes may be part of a secret.
            raise _refused(path, "is not a JSON object of texts", '{"name": "value"}') from None


def _replace(path: Path, body: bytes) -> None:
    """Write a file whole, so that a crash leaves the old one or the new, and only its owner reads either."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with open(beside, "wb", opener=lambda name, flags: os.open(name, flags, stat.S_IRUSR | stat.S_IWUSR)) as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise _refused(
            path, f"can't be written: {error.strerror}", "a file in a folder that its owner can write"
        ) from error


def _refused(path: Path, wrong: str, allowed: str) -> ConfigError:
    return ConfigError([Problem(str(path), 0, "", wrong, allowed)])

"""Access keys: who may call which auth level.

``keys.json`` in the data folder, readable by its owner only: the host key opens functions of
level ``function``, the master key opens everything. They are sent as ``x-functions-key`` or ``?code=``.

https://learn.microsoft.com/azure/azure-functions/function-keys-how-to
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import msgspec

from flockiq.local.host.errors import HostError


class Keys(msgspec.Struct, frozen=True, rename="camel"):
    """The keys of one data folder."""

    master_key: str
    host_key: str

    def open(self, level: str, given: Sequence[str]) -> bool:
        """Whether one of the ``given`` keys opens ``level``, in a time that tells nothing about them."""
        if level == "anonymous":
            return True
        accepted = [self.master_key] if level == "admin" else [self.master_key, self.host_key]
        matches = [hmac.compare_digest(key.encode(), right.encode()) for key in given for right in accepted]
        return any(matches)


def read(data: Path) -> Keys:
    """The keys in ``data``, made at the first start. HostError if the file can't be read."""
    path = data / "keys.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Keys)
    except FileNotFoundError:
        pass
    except msgspec.DecodeError as error:
        raise HostError(f"{path}: {error}; delete it, and new keys are made.") from error
    keys = Keys(secrets.token_urlsafe(32), secrets.token_urlsafe(32))
    # The mode is set as the file is made: there is no moment in which others may read it.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(keys), indent=2))
    return keys

"""What may be the name of a secret: what Key Vault takes, wherever secrets are kept."""

from __future__ import annotations

import re
from typing import Final

from flockiq.shared.errors import ConfigError, NotFound, Problem

_NAME: Final = re.compile(r"[0-9A-Za-z-]{1,127}")


def readable(name: str) -> str:
    """The name of a secret to read; NotFound if no secret can have it."""
    if not _NAME.fullmatch(name):
        raise NotFound(f"{name[:200]!r} names no secret: a name has up to 127 letters, digits and hyphens")
    return name


def writable(name: str) -> str:
    """The name of a secret to write; ConfigError if no secret can have it."""
    if not _NAME.fullmatch(name):
        raise ConfigError([Problem(f"secret {name[:40]!r}", 0, "", "is no name of a secret", "a-z, 0-9, -")])
    return name

"""Endpoints that outlive a test: where they are, and what of them the tests may use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

VARIABLE: Final = "FLOCKIQ_TEST_PLACE"
"""The environment variable that names the file in which a place is described; conformance then runs over it alone."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the adapters of family ``azure`` are to be tried.

    The hubs, containers and database that ``settings`` name belong to the tests: they empty them.
    """

    settings: Mapping[str, str]
    ports: Sequence[str]
    prefix: str = ""  # what hubs and secrets begin with, beside those of others
    inline: bool = False  # rows reach the database by a command, where there is no ingestion


def write(place: Place, path: Path) -> Mapping[str, str]:
    """Describe a place in a file; the environment for tests over it."""
    path.write_bytes(msgspec.json.encode(place))
    return {VARIABLE: str(path)}


def named() -> Place | None:
    """The place that this process's environment names, if any."""
    path = os.environ.get(VARIABLE, "")
    return msgspec.json.decode(Path(path).read_bytes(), type=Place) if path else None

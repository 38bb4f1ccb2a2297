"""How much of an allowance a source says is left, and when reading must stop to leave it to others."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final, NamedTuple

import httpx

from flockiq.capture.http.patience import LONGEST_S, retry_after
from flockiq.shared.config.connection import Quota

_PAIR: Final = re.compile(r"([0-9]{1,15})\s*/\s*([0-9]{1,15})")
_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_MICRO: Final = 1e6
_EPOCH_S: Final = 1_000_000_000  # a reset above it is a moment, one below a number of seconds


class Allowance(NamedTuple):
    """What is left of how much; ``of`` is 0 if that is not known."""

    left: int
    of: int


def allowance(quota: Quota, headers: httpx.Headers) -> Allowance | None:
    """What an answer tells; None if nothing."""
    said = headers.get(quota.header, "")
    if quota.tells == "used_of_limit":
        pair = _PAIR.search(said)
        return Allowance(max(int(pair[2]) - int(pair[1]), 0), int(pair[2])) if pair else None
    left = _NUMBER.search(said)
    whole = _NUMBER.search(headers.get(quota.limit_header, "")) if quota.limit_header else None
    return Allowance(int(left[0]), int(whole[0]) if whole else quota.limit) if left else None


def pause_s(quota: Quota, told: Allowance, headers: httpx.Headers, now: dt.datetime) -> float:
    """Seconds to leave the source alone; 0.0 while more than the floor is left."""
    if told.left > told.of * quota.floor:
        return 0.0
    said = headers.get(quota.reset_header, "").strip() if quota.reset_header else ""
    if said.isascii() and said.isdigit() and int(said) > _EPOCH_S:
        return min(max(int(said) - now.timestamp(), 1.0), LONGEST_S)
    asked = retry_after(said, now) if said else None
    return quota.pause / _MICRO if asked is None else max(asked, 1.0)

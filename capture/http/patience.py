"""How long to wait before a source is asked again."""

from __future__ import annotations

import datetime as dt
import random
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_S: Final = 86_400.0  # of what a source may ask for
_FIRST_S: Final = 0.2
_DOUBLINGS: Final = 20


def retry_after(header: str, now: dt.datetime) -> float | None:
    """Seconds a Retry-After header asks for, given as seconds or as a date; None if it says nothing usable."""
    text = header.strip()
    if text.replace(".", "", 1).isdigit() and text.isascii():
        return min(float(text), LONGEST_S)
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=dt.UTC)
    return min(max((at - now).total_seconds(), 0.0), LONGEST_S)


def backoff(failures: int, longest_s: float, first_s: float = _FIRST_S) -> float:
    """Seconds after ``failures`` (from 1) in a row: doubling up to ``longest_s``, the upper half drawn by lot.

    The lot keeps streams that failed together from coming back together.
    """
    whole = min(first_s * 2.0 ** min(failures - 1, _DOUBLINGS), longest_s)
    return whole * (0.5 + random.random() / 2)  # noqa: S311 - spreads load, keeps no secret

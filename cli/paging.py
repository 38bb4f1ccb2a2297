"""Where config is silent: what an answer tells of its records' place and of further pages, and the config for them.

Guesses from names that APIs use. ``sources check`` warns of what it sees, ``sources discover`` tries it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import httpx
import msgspec

from flockiq.shared.config.sources import DESCRIBED, Source, Stream

DEPTH: Final = 4  # of objects that are looked into
_SHOWN: Final = 60  # characters of a value
_TOKEN: Final = re.compile(
    r"(next_?)?(page_?|starting_?|start_?)?(cursor|token|after|continuation(_?token)?|bookmark|marker|scroll_?id)|next(_?page)?"
)
_MORE: Final = re.compile(r"(has_?)?(more|next(_?page)?)(_?(records|results|items|pages))?")
_TOTAL: Final = re.compile(
    r"(total|count|total_?(count|records|results|items|size|elements)|num_?found|results_?count)"
)

type Way = dict[str, Any]
"""A stream's ``paginate``, as people write it."""

LINKED: Final[Way] = {"kind": "link_header"}


class Sign(NamedTuple):
    """Something in an answer that means there is more than this page."""

    says: str
    ways: tuple[Way, ...]  # that may read it, likeliest first


def is_silent(source: Source, stream: Stream) -> bool:
    """Whether config leaves open how this stream's pages follow one another, although they may."""
    return source.connector in DESCRIBED and "paginate" not in stream.model_fields_set and stream.format is None


def signs(body: bytes, headers: httpx.Headers, records: int) -> list[Sign]:
    """What an answer with so many ``records`` says of further ones, the surest first."""
    told = [Sign("its Link header names a next page", (LINKED,))] if links_on(headers) else []
    for place, value in _leaves(_decoded(body), ()):
        told += _sign(place, value, records)
    return sorted(told, key=lambda sign: len(sign.ways))


def links_on(headers: httpx.Headers) -> bool:
    """Whether the Link header names a next page (RFC 8288)."""
    return "next" in httpx.Response(200, headers={"link": ", ".join(headers.get_list("link"))}).links


def records_place(body: bytes) -> str:
    """Where the longest list of objects in an answer is, as ``records`` names it; "" if it is the answer, or none."""
    lists = list(_lists(_decoded(body), ()))
    return ".".join(max(lists, key=lambda found: found[1])[0]) if lists else ""


def _sign(place: tuple[str, ...], value: object, records: int) -> Iterator[Sign]:
    where, name = ".".join(place), _words(place[-1])
    within_next = any(_words(part).startswith("next") for part in place)
    says = f"{where} is {msgspec.json.encode(value).decode()[:_SHOWN]}"
    match value:
        case True if _MORE.fullmatch(name):
            yield Sign(says, ({"kind": "page", "more": where}, {"kind": "offset", "more": where}))
        case bool():
            return
        case str() if within_next and value.startswith(("https://", "http://", "/", "?")):
            yield Sign(says, ({"kind": "next_url", "next": where},))
        case str() | int() if value and _TOKEN.fullmatch(name):
            yield Sign(says, tuple({"kind": "cursor", "next": where, "parameter": each} for each in _parameters(place)))
        case int() if _TOTAL.fullmatch(name) and value > records:
            yield Sign(says, ({"kind": "page", "total": where}, {"kind": "offset", "total": where}))


def _parameters(place: Sequence[str]) -> list[str]:
    """What the parameter that sends a token back may be called: ``nextPageToken`` is often sent as ``pageToken``."""
    name = place[-1]
    short = re.sub(r"^next[_-]?", "", name, flags=re.IGNORECASE)
    short = short[:1].lower() + short[1:]
    return list(dict.fromkeys(each for each in (short, name, "cursor", "page_token", "after", "page") if each))


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lstrip("@_").lower()


def _decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _leaves(value: object, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    """Every text, number and yes or no that is not within a list, with its place."""
    if isinstance(value, Mapping):
        if len(place) < DEPTH:
            for name, inner in value.items():
                yield from _leaves(inner, (*place, name))
    elif place and isinstance(value, str | int):
        yield place, value


def _lists(value: object, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every list of objects, with its place and length."""
    if isinstance(value, Mapping) and len(place) < DEPTH:
        for name, inner in value.items():
            yield from _lists(inner, (*place, name))
    elif place and isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        yield place, len(value)

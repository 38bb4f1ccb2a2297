"""What a source said, and whether it is of any use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import httpx
import msgspec

from flockiq.shared.errors import SourceError

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
TOO_MANY: Final = 429
NOT_NOW: Final = frozenset({408, 425, 429, *range(500, 600)})
_REDIRECT: Final = range(300, 400)
_REFUSAL: Final = range(400, 500)


class Answer(NamedTuple):
    """What a source said: 2xx, or a 4xx that is the protocol's to understand."""

    status: int
    headers: httpx.Headers
    body: bytes
    url: httpx.URL

    @property
    def ok(self) -> bool:
        """Whether the source did as asked."""
        return self.status < 300  # noqa: PLR2004 - HTTP

    def says(self, words: Sequence[str]) -> str:
        """The first of ``words`` that a refusal holds; "" if it is none, or holds none."""
        refused = self.status in _REFUSAL
        return next((word for word in words if refused and word.encode() in self.body), "")


class Tally(msgspec.Struct):
    """What asking cost."""

    requests: int = 0
    received: int = 0  # bytes of answers, as they came over the wire


def usable(answer: Answer) -> Answer:
    """The answer. SourceError if no protocol can make anything of it."""
    if answer.status in _REDIRECT:
        raise SourceError(
            f"{shown(answer.url)} answers {answer.status}: redirects are not followed; correct the address"
        )
    if answer.status == UNAUTHORIZED:
        raise SourceError(
            f"{shown(answer.url)} answers 401: the credentials are refused; see the secrets named under auth"
        )
    if answer.status == FORBIDDEN:
        raise SourceError(f"{shown(answer.url)} answers 403: the user may not read this; give it the right to")
    return answer


def shown(url: httpx.URL) -> str:
    """A URL as errors show it: without the query, which may hold tokens."""
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace').rpartition('@')[2]}{url.path}"

"""How much one caller may ask: of a body, of a second, of everybody's time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.types import Message, Receive

from flockiq.serve.access import Refused

BODY_BYTES: Final = 64_000  # no request says more than a few fields
URL_CHARACTERS: Final = 8_000
ANSWER_S: Final = 60.0  # API Management in front waits no longer
AT_ONCE: Final = 64
BURST_S: Final = 5.0  # of a second's rate, at once
_CALLERS: Final = 10_000


class Rate:
    """Requests a second for each caller, by a bucket that fills; the callers longest silent are forgotten."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._clock = per_s, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, as of when

    def take(self, name: str) -> None:
        """Take one request; Refused if the caller has none left."""
        now = self._clock()
        most = self._per_s * BURST_S
        left, at = self._left.pop(name, (most, now))
        left = min(most, left + (now - at) * self._per_s)
        allowed = left >= 1.0
        self._left[name] = (left - 1.0 if allowed else left, now)
        if len(self._left) > _CALLERS:
            self._left.popitem(last=False)
        if not allowed:
            raise Refused(429, f"That is more than {self._per_s:g} requests a second. Wait a moment.")


def bounded(receive: Receive) -> Receive:
    """``receive`` that is Refused once a body is larger than ``BODY_BYTES``, whatever length it announced."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > BODY_BYTES:
            raise Refused(413, f"The body has more than {BODY_BYTES:,} bytes.")
        return message

    return counted

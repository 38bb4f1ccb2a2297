"""Why a source did not answer, in words that say where to look; never what was sent to it."""

from __future__ import annotations

from typing import Final

import httpx

_WORDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (httpx.ConnectTimeout, "no connection within connection.connect_timeout"),
    (httpx.ReadTimeout, "silence for longer than connection.read_timeout"),
    (TimeoutError, "no whole answer within connection.request_timeout"),
)
_SHOWN: Final = 120  # characters of what the operating system or TLS say


def silence(error: httpx.TransportError | TimeoutError) -> str:
    """What kept the answer away. Only a failed connection's own text is told: others quote what was sent."""
    if isinstance(error, httpx.ConnectError):
        return _unconnected(str(error)[:_SHOWN])
    words = next((words for kind, words in _WORDS if isinstance(error, kind)), "the connection broke off")
    return f"{words} ({type(error).__name__})"


def _unconnected(said: str) -> str:
    if "does not resolve" in said:
        return f"{said}; is connection.base_url right?"
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return f"its certificate is not trusted ({said.partition('failed: ')[2] or said})"
    if "SSL" in said:
        return f"it does not speak TLS there; is it http? ({said})"
    return f"nobody takes the connection; is connection.base_url right, and is it up? ({said})"

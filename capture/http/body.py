"""Reads an answer's body within a limit, however small the bytes on the wire make it look."""

from __future__ import annotations

import zlib
from typing import Final

import httpx

from flockiq.shared.errors import SourceError

ACCEPT_ENCODING: Final = "gzip"  # the one coding whose decoder can be told where to stop
_GZIP: Final = 31  # zlib's wbits for a gzip frame


async def read(response: httpx.Response, limit: int) -> bytes:
    """The decoded body. SourceError if it is over ``limit`` bytes, or badly or unexpectedly coded."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("gzip", "x-gzip", "identity", ""):
        raise SourceError(f"the answer is coded as {coding[:40]!r}, which was not asked for")
    announced = response.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise SourceError(_too_large(f"{int(announced):,} bytes are announced", limit))
    body = bytearray()
    inflate = zlib.decompressobj(_GZIP) if "gzip" in coding else None
    async for chunk in response.aiter_raw():
        if inflate is None:
            body += chunk
        else:
            body += _inflated(inflate, chunk, limit - len(body) + 1)
        if len(body) > limit:
            raise SourceError(_too_large("more came", limit))
    if inflate is not None and not inflate.eof:
        raise SourceError("the answer ends in the middle of its gzip frame")
    return bytes(body)


def _inflated(inflate: zlib._Decompress, chunk: bytes, room: int) -> bytes:
    try:
        return inflate.decompress(chunk, room)
    except zlib.error as error:
        raise SourceError(f"the answer is not valid gzip: {error}") from error


def _too_large(what: str, limit: int) -> str:
    return f"the answer is too large: {what}, limits.page_bytes is {limit:,}; ask for smaller pages or raise it"

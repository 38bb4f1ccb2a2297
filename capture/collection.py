"""Some records of a stream, as a webhook pointed at them: the pages that begin at a link, however many they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flockiq.capture.http.client import Tally
from flockiq.capture.protocols.page import Expired
from flockiq.capture.protocols.registry import PROTOCOLS
from flockiq.capture.records import Record
from flockiq.capture.sources import Capture
from flockiq.shared.config.sources import Source
from flockiq.shared.errors import SourceError

MOST_RECORDS: Final = 10_000  # beyond it a read of what changed, as the stream's poll does it, is the better way


async def some_of(capture: Capture, source: Source, stream: str, link: str) -> Sequence[Record]:
    """The records. SourceError, SourceUnavailable: they can't be read so; the stream's poll finds them."""
    if "?" not in link:
        raise SourceError("a webhook points at a whole collection, which is left to the stream's poll")
    client, protocol = capture.client(source), PROTOCOLS[source.connector](source, source.streams[stream])
    found: list[Record] = []
    asked: set[str] = set()
    current = None
    while link:
        url = str(client.origins.resolve(link, current))
        if url in asked:
            raise SourceError("the pages that a webhook points at run in a circle")
        asked.add(url)
        answer = await client.get(url, protocol.headers(first=False), Tally())
        try:
            page = protocol.parse(answer, polling=True)
        except Expired as expired:
            raise SourceError(f"the source no longer serves what a webhook points at: {expired}") from expired
        found += page.records
        if len(found) > MOST_RECORDS:
            raise SourceError(f"a webhook points at over {MOST_RECORDS:,} records, which are left to the stream's poll")
        link, current = page.next, answer.url
    return found

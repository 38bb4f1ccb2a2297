"""How a stream is backfilled if its config does not say: by when its records changed, if that can be asked."""

from __future__ import annotations

from typing import Final

from flockiq.shared.config.backfill import ByTime, Sliced, Whole, unbounded
from flockiq.shared.config.reading import KeysetPages, Watermark
from flockiq.shared.config.sources import Source, Stream

_FILTERED: Final = ("dataverse", "odata_v4")  # whose times are written in filters as they are in JSON
_FILTER: Final = "$filter"


def way_of(source: Source, stream: str) -> Sliced:
    """The slices of a stream: as config says, or what can be told from it."""
    config = source.streams[stream]
    if config.backfill is not None:
        return config.backfill
    if isinstance(config.incremental, Watermark):
        return _like_polls(config, config.incremental)
    if source.connector in _FILTERED and config.modified:
        span = f"{config.modified} ge {{since}} and {config.modified} lt {{until}}"
        also = config.query.get(_FILTER, "")
        return ByTime(kind="time", pages={}, query={_FILTER: f"({also}) and {span}" if also else span})
    return Whole(pages={})


def _like_polls(config: Stream, incremental: Watermark) -> Sliced:
    """Asked as the stream is polled, if the poll can be bounded above, on every page."""
    pages = config.paginate
    if isinstance(pages, KeysetPages):
        return Whole(pages={})
    asked = ByTime.model_construct(query=incremental.query)
    if unbounded(asked, incremental.query):
        return Whole(pages={})
    return ByTime(kind="time", pages={}, query=incremental.query, format=incremental.format)

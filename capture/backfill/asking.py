"""The stream as one of its slices asks for it: the same records in the same pages, between the slice's bounds."""

from __future__ import annotations

import msgspec

from flockiq.capture.cursor import definition_of
from flockiq.capture.protocols.phrases import bounded, written
from flockiq.shared.backfills import Span
from flockiq.shared.config.backfill import ByIds, ByKey, ByTime, Sliced
from flockiq.shared.config.reading import Full, KeysetPages
from flockiq.shared.config.sources import Stream
from flockiq.shared.positions import hash_id


def asked(stream: Stream, way: Sliced, span: Span) -> Stream:
    """``stream`` with the slice's bounds in its requests, and no tracking of changes: that is the polls' own."""
    words = _words(way, span)
    said = way.query if isinstance(way, ByTime | ByKey | ByIds) else {}
    changes: dict[str, object] = {"incremental": Full(), "query": stream.query | bounded(said, words)}
    if isinstance(stream.paginate, KeysetPages) and way.pages:
        changes["paginate"] = stream.paginate.model_copy(update={"query": bounded(way.pages, words)})
    return stream.model_copy(update=changes)


def definition(stream: Stream, way: Sliced) -> str:
    """What slices are good for: once this is another, their links lead elsewhere."""
    return hash_id(definition_of(stream), msgspec.json.encode(way.model_dump(mode="json")).decode())


def _words(way: Sliced, span: Span) -> dict[str, str]:
    match way:
        case ByTime():
            return {"since": written(span.since_us, way.format), "until": written(span.until_us, way.format)}
        case ByKey():
            return {"from": span.first, "to": span.last}
        case ByIds():
            return {"ids": way.separator.join(f"{way.quote}{each}{way.quote}" for each in span.ids)}
    return {}

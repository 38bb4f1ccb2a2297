"""How a change event of one stream is written, what all of them share made once.

The same bytes as encoding a ``wire.Change`` with an id and a bucket of ``shared.positions``, which a test
holds, at a third of the cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest, xxh3_128_hexdigest

from flockiq.capture.records import Taken
from flockiq.shared import telemetry, wire
from flockiq.shared.instants import rfc3339
from flockiq.shared.positions import Position, record_key

_US, _RUN, _ROW, _AT = 111_111_111_111_111, 2_111_111_111, 4_111_111_111, 222_222_222_222_222
_PLACES: Final = {  # a line with these values in it becomes the form of all lines
    b"*id*": b"%b",
    b"*time*": b"%b",
    b"*key*": b"%b",
    b'"*after*"': b"%b",
    **{b"%d" % number: b"%d" for number in (_US, _RUN, _ROW, _AT)},
}
_text = msgspec.json.Encoder().encode


class Writer:
    """Writes the change events of one stream."""

    def __init__(self, tenant: str, source: str, stream: str, partitions: int) -> None:
        self._tenant = tenant
        self._source = source
        self._stream = stream
        self._partitions = partitions
        self._place = record_key(tenant, source, stream, "").encode("utf-8", "surrogatepass")
        self._trace = telemetry.captured(source, stream)
        self._forms: dict[wire.Op, bytes] = {}

    def write(
        self, op: wire.Op, records: Iterable[Taken], first: Position, captured_us: int
    ) -> Iterator[tuple[int, bytes]]:
        """Versions of records as (partition, line), each a row further than the one before it.

        The position of the first is ``first``; its time stands in for that of records that give none.
        """
        form = self._forms.get(op) or self._form(op)
        place, partitions = self._place, self._partitions
        none_us, run, row = first
        none = rfc3339(none_us).encode()
        for taken in records:
            us = taken.us or none_us
            time = (taken.time or rfc3339(us).encode()) if taken.us else none
            key, after = taken.key, taken.after
            named = place + key.encode("utf-8", "surrogatepass")
            event = xxh3_128_hexdigest(b"%b\x1f%d\x1f%b" % (named, us, xxh3_128_hexdigest(after).encode()))
            said = _text(key)[1:-1]
            line = form % (event.encode(), time, said, said, us, run, row, captured_us, after)
            yield xxh3_64_intdigest(named) % partitions, line
            row += 1

    def _form(self, op: wire.Op) -> bytes:
        form = wire.encode(
            wire.Change(
                id="*id*",
                source=self._source,
                type=wire.CHANGE,
                subject=f"{self._stream}/*key*",
                time="*time*",
                tenant=self._tenant,
                traceparent=self._trace,
                data=wire.ChangeData(
                    op=op,
                    stream=self._stream,
                    key="*key*",
                    ts_us=_US,
                    run=_RUN,
                    row=_ROW,
                    captured_us=_AT,
                    after=msgspec.Raw(b'"*after*"'),
                ),
            )
        ).replace(b"%", b"%%")
        for place, value in _PLACES.items():
            form = form.replace(place, value)
        self._forms[op] = form
        return form

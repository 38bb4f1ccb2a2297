"""How a change event of one stream is written, what all of them share made once.

The same bytes as encoding a ``wire.Change`` with an id and a bucket of ``shared.positions``, which a test
holds, at a third of the cost.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import xxhash

from flockiq.shared import wire
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


class Written(NamedTuple):
    """A line, and the partition it is for."""

    partition: int
    line: bytes


class Writer:
    """Writes the change events of one stream."""

    def __init__(self, tenant: str, source: str, stream: str, partitions: int) -> None:
        self._tenant = tenant
        self._source = source
        self._stream = stream
        self._partitions = partitions
        self._place = record_key(tenant, source, stream, "").encode("utf-8", "surrogatepass")
        self._forms: dict[wire.Op, bytes] = {}

    def write(
        self, op: wire.Op, key: str, after: bytes, position: Position, captured_us: int, time: bytes = b""
    ) -> Written:
        """One version of one record; ``time`` is that of its position as RFC 3339, if it is known."""
        form = self._forms.get(op) or self._form(op)
        us, run, row = position
        place = self._place + key.encode("utf-8", "surrogatepass")
        content = xxhash.xxh3_128_hexdigest(after).encode()
        event = xxhash.xxh3_128_hexdigest(b"%b\x1f%d\x1f%b" % (place, us, content)).encode()
        said = _text(key)[1:-1]
        line = form % (event, time or rfc3339(us).encode(), said, said, us, run, row, captured_us, after)
        return Written(xxhash.xxh3_64_intdigest(place) % self._partitions, line)

    def _form(self, op: wire.Op) -> bytes:
        form = wire.encode(
            wire.Change(
                id="*id*",
                source=self._source,
                type=wire.CHANGE,
                subject=f"{self._stream}/*key*",
                time="*time*",
                tenant=self._tenant,
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

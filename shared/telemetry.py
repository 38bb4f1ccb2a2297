"""What the app tells about itself: a span a batch, a few numbers, and the trace that changes carry.

Off by default, and then nothing of OpenTelemetry is loaded and a call costs an ``if``. On when
``APPLICATIONINSIGHTS_CONNECTION_STRING`` is set (to Azure Monitor), or ``OTEL_TRACES_EXPORTER=console``.

Capture opens a trace for every batch it reads; its lines carry it as ``traceparent`` over the hubs. A later
batch's span belongs to the first trace found in it and is linked to the others, ``MAX_LINKS`` at most.
Attributes are names from config and counts: never a key, a value or a reason.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

from flockiq.shared import wire

CONNECTION: Final = "APPLICATIONINSIGHTS_CONNECTION_STRING"
CONSOLE: Final = "OTEL_TRACES_EXPORTER"
MAX_LINKS: Final = 32  # traces a batch's span refers to
MAX_BODIES: Final = 16  # of a batch's events are looked into

FENCES: Final = "flockiq.fence_losses"
LETTERS: Final = "flockiq.dead_letters"
ALERTS: Final = "flockiq.alert_steps"
EVENTS: Final = "flockiq.events"
RECORDS: Final = "flockiq.captured_records"
UNITS: Final = "flockiq.request_units"
FRESHNESS: Final = "flockiq.freshness"  # seconds from capture to commit, of the oldest line looked at
INGEST: Final = "flockiq.ingest_delay"  # seconds until the analytics had taken a batch's rows

_TRACE: Final = re.compile(rb',"traceparent":"(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})"')
_CAPTURED: Final = re.compile(rb',"captured_us":([0-9]{1,18})[,}]')
_DATA: Final = b',"data":{'

type Attributes = Mapping[str, str | int]


class Recorder(Protocol):
    """What spans and numbers are given to."""

    def span(self, name: str, traces: Sequence[str], attributes: Attributes) -> AbstractContextManager[str]:
        """A span around a block, of the first of ``traces``, linked to the rest; gives its own traceparent."""
        ...

    def add(self, name: str, amount: float, attributes: Attributes) -> None:
        """Count."""
        ...

    def measure(self, name: str, seconds: float, attributes: Attributes) -> None:
        """One value of a distribution."""
        ...

    def close(self) -> None:
        """Give out what was not yet given out."""
        ...


_recorder: Recorder | None = None


def start(environment: Mapping[str, str]) -> None:
    """Record from now on if ``environment`` says where to; once a process."""
    if _recorder is not None or not (environment.get(CONNECTION) or environment.get(CONSOLE) == "console"):
        return
    from flockiq.shared import otel  # noqa: PLC0415 - half a second that only those pay who want it

    use(otel.recorder(environment))


def use(recorder: Recorder | None) -> None:
    """Record with ``recorder``, or no longer."""
    global _recorder  # noqa: PLW0603 - one process, one recorder
    _recorder = recorder


def close() -> None:
    """Give out what was not yet given out, and record no longer."""
    if _recorder is not None:
        _recorder.close()
        use(None)


def add(name: str, amount: float, **attributes: str | int) -> None:
    """Count ``amount`` more of ``name``."""
    if _recorder is not None and amount:
        _recorder.add(name, amount, attributes)


def captured(source: str, stream: str) -> str:
    """The traceparent of a new trace for what is read of a stream; "" if nothing is recorded."""
    if _recorder is None:
        return ""
    with _recorder.span("capture", (), {"source": source, "stream": stream}) as trace:
        return trace


@contextlib.contextmanager
def within(name: str, **attributes: str | int) -> Iterator[None]:
    """A span around a part of what is going on."""
    if _recorder is None:
        yield
        return
    with _recorder.span(name, (), attributes):
        yield


@contextlib.contextmanager
def timed(name: str, **attributes: str | int) -> Iterator[None]:
    """Measure the seconds a block takes, if it ends well."""
    began = time.perf_counter()
    yield
    if _recorder is not None:
        _recorder.measure(name, time.perf_counter() - began, attributes)


@contextlib.contextmanager
def batch(function: str, partition: str, bodies: Sequence[bytes]) -> Iterator[None]:
    """A span around the folding of a batch; if it ends well, counts its events and measures its freshness.

    A batch that is folded again, after a lost fence, is counted again.
    """
    if _recorder is None:
        yield
        return
    recorder = _recorder
    traces, oldest_us = _seen(bodies)
    with recorder.span(function, traces, {"partition": partition, "events": len(bodies)}):
        yield
    recorder.add(EVENTS, len(bodies), {"function": function})
    if oldest_us:
        recorder.measure(FRESHNESS, max(0.0, time.time() - oldest_us / 1e6), {"function": function})


def _seen(bodies: Sequence[bytes]) -> tuple[list[str], int]:
    """The traces of a batch's lines, and when the oldest was captured (µs; 0: none says so)."""
    traces: dict[str, None] = {}
    oldest = 0
    for body in bodies[:MAX_BODIES]:
        for line in wire.lines_in(body)[1]:
            about = line[: line.find(_DATA)]  # beyond it are the record's own values
            found = _TRACE.search(about)
            if found is not None and len(traces) < MAX_LINKS:
                traces[found[1].decode()] = None
            if (at := _CAPTURED.search(line)) is not None:  # the first: keys are escaped, records come after it
                oldest = min(oldest or int(at[1]), int(at[1]))
    return list(traces), oldest

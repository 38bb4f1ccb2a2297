"""What the app tells about itself: a span a batch, a few numbers, and the trace that changes carry.

Where to is said by settings. With ``APPLICATIONINSIGHTS_CONNECTION_STRING`` spans and numbers go to Azure Monitor.
Without it numbers go to the log, a line for each metric that has something new, once a minute;
``FLOCKIQ_TELEMETRY=console`` logs every span as well, ``FLOCKIQ_TELEMETRY=off`` tells nothing and loads nothing of
OpenTelemetry. The SDK's own settings (``OTEL_METRIC_EXPORT_INTERVAL``, …) hold.

Capture opens a trace for every batch it reads; its lines carry it as ``traceparent`` over the hubs. A later
batch's span belongs to the first trace found in it and is linked to the others, ``MAX_LINKS`` at most.
Attributes are names from config and counts: never a key, a value or a reason.
"""

from __future__ import annotations

import atexit
import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, Protocol

import zstandard

from flockiq.shared import wire
from flockiq.shared.errors import BadRecord, ConfigError, Problem

CONNECTION: Final = "APPLICATIONINSIGHTS_CONNECTION_STRING"
WHERE: Final = "FLOCKIQ_TELEMETRY"
MAX_LINKS: Final = 32  # traces a batch's span refers to
MAX_BODIES: Final = 16  # of a batch's events are looked into
HEAD: Final = 4_096  # bytes of a line, in which it says when it was captured

LAG: Final = "flockiq.lag"
LAG_EVENTS: Final = "flockiq.lag_events"
RATE: Final = "flockiq.rate"
FRESHNESS: Final = "flockiq.freshness"
LETTERS: Final = "flockiq.dead_letters"
ALERTS: Final = "flockiq.alert_steps"
UNITS: Final = "flockiq.request_units"
INGEST: Final = "flockiq.ingest_delay"
FENCES: Final = "flockiq.fence_losses"
EVENTS: Final = "flockiq.events"
RECORDS: Final = "flockiq.captured_records"


class Metric(NamedTuple):
    """What a metric is counted in, by which attributes it is told apart, and what it says."""

    unit: str  # as UCUM has it
    attributes: tuple[str, ...]
    what: str


METRICS: Final[Mapping[str, Metric]] = {
    LAG: Metric("s", ("function", "hub", "partition"), "how long the oldest event has waited that is not worked off"),
    LAG_EVENTS: Metric("{event}", ("function", "hub", "partition"), "events not yet worked off"),
    RATE: Metric("{record}/s", ("function", "partition"), "records folded a second, since it was last told"),
    FRESHNESS: Metric("s", ("function",), "from capture to commit, of the oldest record looked at in a batch"),
    LETTERS: Metric("{record}", ("stage",), "records set aside"),
    ALERTS: Metric("{step}", ("change",), "steps of alerts told to the alert store"),
    UNITS: Metric("{request unit}", ("operation",), "what Cosmos DB charged"),
    INGEST: Metric("s", ("table",), "until the analytics had taken a batch's rows"),
    FENCES: Metric("{commit}", ("function",), "commits that another owner was ahead of"),
    EVENTS: Metric("{event}", ("function",), "packed events folded; again if folded again after a lost fence"),
    RECORDS: Metric("{record}", (), "records packed for hub changes"),
}
"""Every metric, and nothing else is recorded. docs/operations.md tells them to operators."""

_TRACE: Final = re.compile(rb',"traceparent":"(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})"')
_CAPTURED: Final = re.compile(rb',"captured_us":([0-9]{1,18})[,}]')
_DATA: Final = b',"data":{'

type Attributes = Mapping[str, str | int]


class Recorder(Protocol):
    """What spans and numbers are given to. ``traces``: whether spans are wanted at all."""

    traces: bool

    def span(self, name: str, traces: Sequence[str], attributes: Attributes) -> AbstractContextManager[str]:
        """A span around a block, of the first of ``traces``, linked to the rest; gives its own traceparent."""
        ...

    def add(self, name: str, amount: float, attributes: Attributes) -> None:
        """Count."""
        ...

    def rate(self, name: str, amount: float, attributes: Attributes) -> None:
        """Count what is told by the second, since it was last told."""
        ...

    def set(self, name: str, value: float, attributes: Attributes) -> None:
        """How much it is now."""
        ...

    def measure(self, name: str, seconds: float, attributes: Attributes) -> None:
        """One value of a distribution."""
        ...

    def close(self) -> None:
        """Give out what was not yet given out."""
        ...


_recorder: Recorder | None = None


def start(environment: Mapping[str, str]) -> None:
    """Record from now on, to where ``environment`` says; once a process. ConfigError if that is nowhere.

    What was not yet given out when the process ends is given out then.
    """
    where = environment.get(WHERE, "")
    if where not in {"", "console", "off"}:
        raise ConfigError([Problem(WHERE, 0, "", f"there is no {where!r}", "console, off, or not set")])
    if _recorder is not None or where == "off":
        return
    from flockiq.shared import otel  # noqa: PLC0415 - only those pay who want it

    use(otel.recorder(environment))
    atexit.register(close)


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


def rate(name: str, amount: float, **attributes: str | int) -> None:
    """Count ``amount`` more of what ``name`` tells by the second."""
    if _recorder is not None and amount:
        _recorder.rate(name, amount, attributes)


def level(name: str, value: float, **attributes: str | int) -> None:
    """How much ``name`` is now."""
    if _recorder is not None:
        _recorder.set(name, value, attributes)


def on() -> bool:
    """Whether anything is recorded: what costs something is measured only then."""
    return _recorder is not None


def captured(source: str, stream: str) -> str:
    """The traceparent of a new trace for what is read of a stream; "" if nothing is recorded."""
    if _recorder is None or not _recorder.traces:
        return ""
    with _recorder.span("capture", (), {"source": source, "stream": stream}) as trace:
        return trace


@contextlib.contextmanager
def within(name: str, **attributes: str | int) -> Iterator[None]:
    """A span around a part of what is going on."""
    if _recorder is None or not _recorder.traces:
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
    traces, oldest_us = _seen(bodies[:MAX_BODIES]) if recorder.traces else ([], _first_us(bodies))
    with contextlib.ExitStack() as stack:
        if recorder.traces:
            stack.enter_context(recorder.span(function, traces, {"partition": partition, "events": len(bodies)}))
        yield
    recorder.add(EVENTS, len(bodies), {"function": function})
    if oldest_us:
        recorder.measure(FRESHNESS, max(0.0, time.time() - oldest_us / 1e6), {"function": function})


def _first_us(bodies: Sequence[bytes]) -> int:
    """When the first line was captured (µs; 0: it does not say): no more than its beginning is unpacked."""
    try:
        with zstandard.ZstdDecompressor().stream_reader(bodies[0]) as reader:
            found = _CAPTURED.search(reader.read(HEAD).partition(b"\n")[0])
    except (IndexError, zstandard.ZstdError):
        return 0
    return int(found[1]) if found else 0


def _seen(bodies: Sequence[bytes]) -> tuple[list[str], int]:
    """The traces of these bodies' lines, and when the oldest looked at was captured (µs; 0: none says so).

    Where all lines of a body have one trace, as those of one capture do, its first line speaks for them.
    """
    traces: dict[str, None] = {}
    oldest = 0
    for body in bodies:
        try:
            text = wire.unpack(body)
        except BadRecord:
            continue
        first = text.partition(b"\n")[0]
        found = _TRACE.search(first[: first.find(_DATA)])  # beyond it are the record's own values
        shared = found is not None and text.count(found[1]) > text.count(b"\n")
        for line in [first] if shared else text.split(b"\n"):
            found = _TRACE.search(line[: line.find(_DATA)])
            if found is not None and len(traces) < MAX_LINKS:
                traces[found[1].decode()] = None
            if (at := _CAPTURED.search(line)) is not None:  # the first: keys are escaped, records come after it
                oldest = min(oldest or int(at[1]), int(at[1]))
    return list(traces), oldest

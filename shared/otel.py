"""Spans and numbers by OpenTelemetry, to Azure Monitor or the log. Imported only where it is wanted."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from flockiq.shared.otel_log import LogMetrics, LogSpans
from flockiq.shared.telemetry import CONNECTION, METRICS, WHERE, Attributes

_carried = TraceContextTextMapPropagator()


class OpenTelemetry:
    """A ``telemetry.Recorder``; providers are its own, so that no other library's spans get in.

    Without ``spans`` there are none. ``now`` is a clock of seconds, for what is told by the second.
    """

    def __init__(
        self, spans: SpanProcessor | None, metrics: MetricReader, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.traces = spans is not None
        self._now = now
        resource = Resource.create({"service.name": "flockiq"})
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        if spans is not None:
            self._traces.add_span_processor(spans)
        self._tracer = self._traces.get_tracer("flockiq")
        self._metrics = MeterProvider([metrics], resource=resource, shutdown_on_exit=False)
        self._meter = self._metrics.get_meter("flockiq")
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._rates: dict[str, Rate] = {}
        self._levels: dict[str, Levels] = {}

    @contextlib.contextmanager
    def span(self, name: str, traces: Sequence[str], attributes: Attributes) -> Iterator[str]:
        """A span around a block. What goes wrong in it is shown by its type: a message may quote a record."""
        contexts = [trace.get_current_span(_carried.extract({"traceparent": one})).get_span_context() for one in traces]
        parent = trace.set_span_in_context(trace.NonRecordingSpan(contexts[0])) if contexts else None
        with self._tracer.start_as_current_span(
            name,
            context=parent,
            attributes=attributes,
            links=[trace.Link(one) for one in contexts[1:]],
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            carrier: dict[str, str] = {}
            _carried.inject(carrier)
            try:
                yield carrier["traceparent"]
            except Exception as error:
                span.set_status(trace.StatusCode.ERROR, type(error).__name__)
                raise

    def add(self, name: str, amount: float, attributes: Attributes) -> None:
        """Count."""
        counter = self._counters.get(name)
        if counter is None:
            unit, _, what = METRICS[name]
            counter = self._counters[name] = self._meter.create_counter(name, unit, what)
        counter.add(amount, attributes)

    def rate(self, name: str, amount: float, attributes: Attributes) -> None:
        """Count what is told by the second, since it was last told."""
        rate = self._rates.get(name)
        if rate is None:
            unit, _, what = METRICS[name]
            rate = self._rates[name] = Rate(self._now)
            self._meter.create_observable_gauge(name, [rate.observed], unit, what)
        rate.add(amount, attributes)

    def set(self, name: str, value: float, attributes: Attributes) -> None:
        """How much it is now."""
        levels = self._levels.get(name)
        if levels is None:
            unit, _, what = METRICS[name]
            levels = self._levels[name] = Levels()
            self._meter.create_observable_gauge(name, [levels.observed], unit, what)
        levels.set(value, attributes)

    def measure(self, name: str, seconds: float, attributes: Attributes) -> None:
        """One value of a distribution, in seconds."""
        histogram = self._histograms.get(name)
        if histogram is None:
            unit, _, what = METRICS[name]
            histogram = self._histograms[name] = self._meter.create_histogram(name, unit, what)
        histogram.record(seconds, attributes)

    def close(self) -> None:
        """Give out what was not yet given out."""
        self._traces.shutdown()
        self._metrics.shutdown()


type _Key = tuple[tuple[str, str | int], ...]


class Levels:
    """Values as they were last set, each told once: who measures no more must not go on telling what was."""

    def __init__(self) -> None:
        self._values: dict[_Key, float] = {}
        self._lock = threading.Lock()  # they are told from the exporter's thread

    def set(self, value: float, attributes: Attributes) -> None:
        """Set one."""
        with self._lock:
            self._values[_key(attributes)] = value

    def observed(self, _options: CallbackOptions) -> Iterable[Observation]:
        """Tell them."""
        with self._lock:
            values, self._values = self._values, {}
        return [Observation(value, dict(key)) for key, value in values.items()]


class Rate:
    """Amounts by the second since they were last told; one that stays away is told as 0 once, and then no more."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._told = now()
        self._amounts: dict[_Key, float] = {}
        self._lock = threading.Lock()  # as above

    def add(self, amount: float, attributes: Attributes) -> None:
        """Count ``amount`` more."""
        key = _key(attributes)
        with self._lock:
            self._amounts[key] = self._amounts.get(key, 0.0) + amount

    def observed(self, _options: CallbackOptions) -> Iterable[Observation]:
        """Tell them."""
        with self._lock:
            now = self._now()
            elapsed, self._told = now - self._told, now
            amounts, self._amounts = self._amounts, {key: 0.0 for key, amount in self._amounts.items() if amount}
        return [Observation(amount / elapsed, dict(key)) for key, amount in amounts.items()] if elapsed > 0 else []


def _key(attributes: Attributes) -> _Key:
    return tuple(sorted(attributes.items()))


def recorder(environment: Mapping[str, str]) -> OpenTelemetry:
    """To Azure Monitor if its connection string is set, by the app's identity; else to the log."""
    if environment.get(WHERE) == "console" or not environment.get(CONNECTION):
        spans = BatchSpanProcessor(LogSpans()) if environment.get(WHERE) == "console" else None
        return OpenTelemetry(spans, PeriodicExportingMetricReader(LogMetrics()))
    from azure.monitor.opentelemetry.exporter import (  # noqa: PLC0415 - not needed on a console
        AzureMonitorMetricExporter,
        AzureMonitorTraceExporter,
    )

    from flockiq.shared.adapters.azure.identity import blocking_credential  # noqa: PLC0415 - likewise

    said = {"connection_string": environment[CONNECTION], "credential": blocking_credential(environment)}
    return OpenTelemetry(
        BatchSpanProcessor(AzureMonitorTraceExporter(**said)),
        PeriodicExportingMetricReader(AzureMonitorMetricExporter(**said)),
    )

"""Spans and numbers by OpenTelemetry, to Azure Monitor or the console. Imported only where it is wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from opentelemetry import trace
from opentelemetry.metrics import Counter, Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from flockiq.shared.telemetry import CONNECTION, Attributes

_carried = TraceContextTextMapPropagator()


class OpenTelemetry:
    """A ``telemetry.Recorder``; providers are its own, so that no other library's spans get in."""

    def __init__(self, spans: SpanProcessor, metrics: MetricReader) -> None:
        resource = Resource.create({"service.name": "flockiq"})
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._traces.add_span_processor(spans)
        self._tracer = self._traces.get_tracer("flockiq")
        self._metrics = MeterProvider([metrics], resource=resource, shutdown_on_exit=False)
        self._meter = self._metrics.get_meter("flockiq")
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}

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
            counter = self._counters[name] = self._meter.create_counter(name)
        counter.add(amount, attributes)

    def measure(self, name: str, seconds: float, attributes: Attributes) -> None:
        """One value of a distribution, in seconds."""
        histogram = self._histograms.get(name)
        if histogram is None:
            histogram = self._histograms[name] = self._meter.create_histogram(name, unit="s")
        histogram.record(seconds, attributes)

    def close(self) -> None:
        """Give out what was not yet given out."""
        self._traces.shutdown()
        self._metrics.shutdown()


def recorder(environment: Mapping[str, str]) -> OpenTelemetry:
    """To Azure Monitor if its connection string is set, by the app's identity; to the console otherwise."""
    if not environment.get(CONNECTION):
        return OpenTelemetry(
            BatchSpanProcessor(ConsoleSpanExporter()), PeriodicExportingMetricReader(ConsoleMetricExporter())
        )
    from azure.identity import ManagedIdentityCredential  # noqa: PLC0415 - not needed on a console
    from azure.monitor.opentelemetry.exporter import (  # noqa: PLC0415
        AzureMonitorMetricExporter,
        AzureMonitorTraceExporter,
    )

    client_id = environment.get("AZURE_CLIENT_ID", "").strip()
    credential = ManagedIdentityCredential(client_id=client_id) if client_id else None
    said = {"connection_string": environment[CONNECTION], "credential": credential}
    return OpenTelemetry(
        BatchSpanProcessor(AzureMonitorTraceExporter(**said)),
        PeriodicExportingMetricReader(AzureMonitorMetricExporter(**said)),
    )

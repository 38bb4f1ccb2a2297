"""What the app tells, kept in memory by the real SDK."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from flockiq.shared import telemetry
from flockiq.shared.otel import OpenTelemetry

type Point = tuple[Mapping[str, object], float]
"""Attributes, and a value; of a distribution the sum."""


class Recorded:
    """Everything recorded. ``now``: the clock of what is told by the second."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        telemetry.use(OpenTelemetry(SimpleSpanProcessor(self.exporter), self.reader, lambda: self.now))

    def points(self) -> dict[str, list[Point]]:
        """{metric: its points}; the metrics' units and attributes are held against what they are said to be."""
        found: dict[str, list[Point]] = {}
        data = self.reader.get_metrics_data()
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data else ():
            said = telemetry.METRICS[metric.name]
            assert metric.unit == said.unit
            assert metric.description == said.what
            for point in metric.data.data_points:
                assert tuple(sorted(point.attributes or {})) == said.attributes
                value = point.sum if isinstance(point, HistogramDataPoint) else point.value  # type: ignore[union-attr]
                found.setdefault(metric.name, []).append((dict(point.attributes or {}), value))
        return found

    def numbers(self) -> dict[str, float]:
        """{metric: its sum, or how many values it has}, over all attributes."""
        found: dict[str, float] = {}
        data = self.reader.get_metrics_data()
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data else ():
            for point in metric.data.data_points:
                if isinstance(point, NumberDataPoint):
                    found[metric.name] = found.get(metric.name, 0) + point.value
                elif isinstance(point, HistogramDataPoint):
                    found[metric.name] = found.get(metric.name, 0) + point.count
        return found


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """A recorder in memory."""
    yield Recorded()
    telemetry.close()

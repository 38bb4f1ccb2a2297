"""Where spans and numbers go without Azure Monitor: to the log, few lines of them.

A metric is a line, told when it has something new; what is counted or measured is told as what came since the line
before. A span is a line of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = logging.getLogger("flockiq.telemetry")

_SINCE: Final[dict[type, AggregationTemporality]] = {
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}


class LogMetrics(MetricExporter):
    """Metrics, as lines of the log."""

    def __init__(self) -> None:
        super().__init__(preferred_temporality=_SINCE)
        self._told: dict[str, str] = {}

    def export(self, metrics_data: MetricsData, timeout_millis: float = 0, **_: object) -> MetricExportResult:
        """Log what is new."""
        del timeout_millis
        for resource in metrics_data.resource_metrics:
            for metric in (one for scope in resource.scope_metrics for one in scope.metrics):
                said = "; ".join(sorted(filter(None, map(_said, metric.data.data_points))))
                counted = any(isinstance(point, HistogramDataPoint) for point in metric.data.data_points) or hasattr(
                    metric.data, "is_monotonic"
                )
                if said and (counted or self._told.get(metric.name) != said):
                    log.info("%s in %s: %s", metric.name, metric.unit or "1", said)
                self._told[metric.name] = said
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        """Nothing is held back."""
        del timeout_millis
        return True

    def shutdown(self, timeout_millis: float = 0, **_: object) -> None:
        """Nothing is held."""


class LogSpans(SpanExporter):
    """Spans, as lines of the log."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Log them."""
        for span in spans:
            if span.context is not None:
                took_ms = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
                wrong = f" failed with {span.status.description}" if not span.status.is_ok else ""
                about, trace = _named(span.attributes or {}), f"{span.context.trace_id:032x}"
                log.info("span %s%s took %.1f ms%s, trace %s", span.name, about, took_ms, wrong, trace)
        return SpanExportResult.SUCCESS


def _said(point: Any) -> str:
    about = _named(point.attributes or {}).lstrip()
    prefix = f"{about}: " if about else ""
    match point:
        case NumberDataPoint():
            return f"{prefix}{point.value:.6g}"
        case HistogramDataPoint() if point.count:
            return f"{prefix}{point.count} of mean {point.sum / point.count:.3g}, at most {point.max:.3g}"
    return ""


def _named(attributes: Mapping[str, Any]) -> str:
    return "".join(f" {name}={value}" for name, value in sorted(attributes.items()))

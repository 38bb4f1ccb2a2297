"""Spans and numbers reach Azure Monitor, through Microsoft's exporter and the app's identity."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from flockiq.shared import otel, telemetry
from flockiq.shared.otel import OpenTelemetry
from tests.peers.certificates import Authority
from tests.peers.key_vault.peer import KeyVault
from tests.peers.leftovers import swept
from tests.peers.monitor.peer import KINDS, Monitor
from tests.peers.tokens import Issuer

QUIET = (
    "CONTROLPLANE_DISABLED", "OPENTELEMETRY_RESOURCE_METRIC_DISABLED", "SDKSTATS_DISABLED", "STATSBEAT_DISABLED_ALL",
)  # fmt: skip
"""What the exporter would tell about itself, and ask of Microsoft."""

AT_ONCE = ("throttled", "unavailable")

type Opens = Callable[[], OpenTelemetry]


@pytest.fixture
def issuer() -> Issuer:
    """Who gives the app its tokens."""
    return Issuer()


@pytest.fixture
def peer(tmp_path: Path, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitor]:
    """Application Insights that this process trusts; what can't be sent at once is kept in the test's folder."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in QUIET:
        monkeypatch.setenv(f"APPLICATIONINSIGHTS_{name}", "true")
    with swept(), Monitor(authority.serving(), issuer) as peer:
        yield peer


@pytest.fixture
def opens(peer: Monitor, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opens]:
    """Records to it as a deployed app does, by the identity that App Service gives."""
    with ExitStack() as stack:
        folder = tmp_path / "identity"
        folder.mkdir()
        given = stack.enter_context(KeyVault(Authority(folder).serving(), issuer=issuer)).identity
        for name, value in given.items():
            monkeypatch.setenv(name, value)

        def over() -> OpenTelemetry:
            telemetry.use(recorder := otel.recorder({**given, **peer.environment}))
            return recorder

        yield over
        telemetry.close()


def named(peer: Monitor) -> list[str]:
    """The names of what was taken: spans, and metrics."""
    return [name for envelope in peer.taken for name in _names(envelope["data"]["baseData"])]


def _names(data: dict[str, Any]) -> list[str]:
    return [metric["name"] for metric in data["metrics"]] if "metrics" in data else [data["name"]]


def told() -> None:
    """A span with another inside, and a number."""
    with telemetry.within("process_resolved", partition="0"), telemetry.within("alerts", steps=1):
        telemetry.add(telemetry.LETTERS, 2, stage="merge")


def test_spans_and_numbers_reach_azure_monitor(peer: Monitor, opens: Opens) -> None:
    """As the app's identity; a span is of its trace, a number has its attributes, and nothing else is said."""
    opens()
    told()
    telemetry.close()
    assert sorted(named(peer)) == ["alerts", "flockiq.dead_letters", "process_resolved"]
    spans = {one["data"]["baseData"]["name"]: one for one in peer.taken if "metrics" not in one["data"]["baseData"]}
    assert len({one["tags"]["ai.operation.id"] for one in spans.values()}) == 1
    outer, inner = spans["process_resolved"], spans["alerts"]
    assert inner["tags"]["ai.operation.parentId"] == outer["data"]["baseData"]["id"]
    (number,) = (one["data"]["baseData"] for one in peer.taken if "metrics" in one["data"]["baseData"])
    assert (number["metrics"][0]["value"], number["properties"]) == (2, {"stage": "merge"})
    assert {one["tags"]["ai.cloud.role"] for one in peer.taken} == {"flockiq"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_taken_is_sent_again(kind: str, peer: Monitor, opens: Opens, tmp_path: Path) -> None:
    """At once where the service is busy; else the exporter keeps it on disk for later. The app goes on meanwhile."""
    recorder = opens()
    peer.faults.plan(kind)
    for name in ("first", "second"):
        with telemetry.within(name):
            pass
        recorder._traces.force_flush()
    assert peer.faults.injected == {kind: 1}
    kept = [file for file in tmp_path.rglob("*.blob*") if b"first" in file.read_bytes()]
    assert (named(peer), len(kept)) == (["first", "second"], 0) if kind in AT_ONCE else (["second"], 1)


def test_nobody_s_telemetry_is_taken_without_a_token(
    peer: Monitor, opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the app goes on."""
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    opens()
    told()
    telemetry.close()
    assert peer.taken == []

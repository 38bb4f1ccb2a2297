"""The seven embedded adapters over one data folder; nothing is opened before its first use."""

from __future__ import annotations

from pathlib import Path

from flockiq.shared.adapters.embedded.alerts import SqliteAlerts
from flockiq.shared.adapters.embedded.analytics import DuckdbAnalytics
from flockiq.shared.adapters.embedded.blobs import FolderBlobs
from flockiq.shared.adapters.embedded.events import SqliteEvents
from flockiq.shared.adapters.embedded.registry import SqliteRegistry
from flockiq.shared.adapters.embedded.secrets import EnvironmentSecrets
from flockiq.shared.adapters.embedded.state import SqliteState
from flockiq.shared.services import Services
from flockiq.shared.settings import Settings

EVENTHOUSE = Path(__file__).resolve().parents[3] / "eventhouse"


def connect(settings: Settings) -> Services:
    """The services of this machine, kept in ``settings.data``."""
    data = settings.data
    return Services(
        settings=settings,
        events=SqliteEvents(data / "events.db", settings.partitions),
        state=SqliteState(data / "state" / "logs.db"),
        alerts=SqliteAlerts(data / "alerts.db"),
        registry=SqliteRegistry(data / "registry.db"),
        analytics=DuckdbAnalytics(data / "analytics.duckdb", EVENTHOUSE),
        secrets=EnvironmentSecrets(),
        blobs=FolderBlobs(data / "blobs"),
    )

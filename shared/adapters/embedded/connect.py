"""The seven embedded adapters over one data folder; nothing is opened before its first use."""

from __future__ import annotations

from pathlib import Path

from flockiq.shared.adapters.embedded.alerts import SqliteAlerts
from flockiq.shared.adapters.embedded.analytics import DuckdbAnalytics
from flockiq.shared.adapters.embedded.blobs import FolderBlobs
from flockiq.shared.adapters.embedded.events import SqliteEvents
from flockiq.shared.adapters.embedded.registry import SqliteRegistry
from flockiq.shared.adapters.embedded.secrets import EnvironmentSecrets
from flockiq.shared.adapters.embedded.spool import SPOOL, Spool, SpooledAnalytics
from flockiq.shared.adapters.embedded.state import SqliteState
from flockiq.shared.ports import Blobs
from flockiq.shared.settings import Settings

HISTORY = "analytics.duckdb"
EVENTHOUSE = Path(__file__).resolve().parents[3] / "eventhouse"


class Embedded:
    """The adapters of this machine, kept in ``settings.data``; see ``shared.services.Family``."""

    def __init__(self, settings: Settings) -> None:
        self._data = settings.data
        self._partitions = settings.partitions
        self._spool = settings.analytics_spool
        self._retention_s = settings.hub_retention_h * 3600.0

    def events(self, _blobs: Blobs) -> SqliteEvents:
        """Hubs as a sqlite log."""
        return SqliteEvents(self._data / "events.db", self._partitions, retention_s=self._retention_s)

    def state(self) -> SqliteState:
        """State logs in one sqlite file."""
        return SqliteState(self._data / "state" / "logs.db")

    def alerts(self) -> SqliteAlerts:
        """Alerts in sqlite."""
        return SqliteAlerts(self._data / "alerts.db")

    def registry(self) -> SqliteRegistry:
        """Cursors and leases in sqlite."""
        return SqliteRegistry(self._data / "registry.db")

    def analytics(self, _blobs: Blobs) -> DuckdbAnalytics | SpooledAnalytics:
        """History in DuckDB, or on its way to the process that holds it."""
        path = self._data / HISTORY
        return (
            SpooledAnalytics(Spool(path.with_suffix(SPOOL)), EVENTHOUSE)
            if self._spool
            else DuckdbAnalytics(path, EVENTHOUSE)
        )

    def secrets(self) -> EnvironmentSecrets:
        """Secrets from the environment."""
        return EnvironmentSecrets()

    def blobs(self) -> FolderBlobs:
        """Blobs as files."""
        return FolderBlobs(self._data / "blobs")

    async def close(self) -> None:
        """Nothing is shared."""

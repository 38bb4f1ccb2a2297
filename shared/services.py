"""The seven ports, opened once a process by what the settings choose."""

from __future__ import annotations

from typing import NamedTuple

from flockiq.shared.errors import ConfigError, Problem
from flockiq.shared.ports import AlertStore, Analytics, Blobs, EventStream, Registry, Secrets, StateStore
from flockiq.shared.settings import Settings, read


class Services(NamedTuple):
    """Everything a function reaches the world through."""

    settings: Settings
    events: EventStream
    state: StateStore
    alerts: AlertStore
    registry: Registry
    analytics: Analytics
    secrets: Secrets
    blobs: Blobs

    async def close(self) -> None:
        """Close every port."""
        for port in (self.events, self.state, self.alerts, self.registry, self.analytics, self.secrets, self.blobs):
            await port.close()


_open: Services | None = None


def services() -> Services:
    """This process's services, opened at the first call."""
    global _open  # noqa: PLW0603 - one process, one set of clients: SDK clients must be shared
    if _open is None:
        _open = connect(read())
    return _open


def connect(settings: Settings) -> Services:
    """Open the adapters ``settings`` name. ConfigError if it names none that exist."""
    if settings.adapters == "embedded":
        from flockiq.shared.adapters.embedded.connect import connect as embedded  # noqa: PLC0415 - heavy, and not in Azure

        return embedded(settings)
    raise ConfigError(
        [Problem("FLOCKIQ_ADAPTERS", 0, "", f"there are no adapters called {settings.adapters!r}", "embedded")]
    )


async def close() -> None:
    """Close this process's services, if open."""
    global _open
    if _open is not None:
        opened, _open = _open, None
        await opened.close()

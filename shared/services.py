"""The seven ports, opened once a process by what the settings choose."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from flockiq.shared import telemetry
from flockiq.shared.errors import ConfigError, Problem
from flockiq.shared.ports import AlertStore, Analytics, Blobs, EventStream, Registry, Secrets, StateStore
from flockiq.shared.settings import Settings, read


class Family(Protocol):
    """Adapters of one kind for all ports: opens one, and keeps what they share.

    Opening touches nothing outside this process. Blobs come first: others keep there what is too large for them.
    """

    def events(self, blobs: Blobs) -> EventStream:
        """The event stream."""
        ...

    def state(self) -> StateStore:
        """The state store."""
        ...

    def alerts(self) -> AlertStore:
        """The alert store."""
        ...

    def registry(self) -> Registry:
        """The registry."""
        ...

    def analytics(self, blobs: Blobs) -> Analytics:
        """The analytics."""
        ...

    def secrets(self) -> Secrets:
        """The secrets."""
        ...

    def blobs(self) -> Blobs:
        """The blobs."""
        ...

    async def close(self) -> None:
        """Release what its adapters share, after they are closed."""
        ...


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
    families: Sequence[Family] = ()

    async def close(self) -> None:
        """Close every port, then what they share."""
        for port in (self.events, self.state, self.alerts, self.registry, self.analytics, self.secrets, self.blobs):
            await port.close()
        for family in self.families:
            await family.close()


_open: Services | None = None


def services() -> Services:
    """This process's services, opened at the first call."""
    global _open  # noqa: PLW0603 - one process, one set of clients: SDK clients must be shared
    if _open is None:
        telemetry.start(os.environ)
        _open = connect(read())
    return _open


def connect(settings: Settings, environment: Mapping[str, str] = os.environ) -> Services:
    """Open the adapters ``settings`` choose for each port. ConfigError if it names none that exist.

    ``environment`` is where Azure's resources are named.
    """
    families: dict[str, Family] = {}

    def of(port: str) -> Family:
        name = settings.adapters_of.get(port, settings.adapters)
        if name not in families:
            setting = f"FLOCKIQ_ADAPTERS_{port.upper()}" if port in settings.adapters_of else "FLOCKIQ_ADAPTERS"
            families[name] = _family(name, setting, settings, environment)
        return families[name]

    blobs = of("blobs").blobs()
    return Services(
        settings=settings,
        events=of("events").events(blobs),
        state=of("state").state(),
        alerts=of("alerts").alerts(),
        registry=of("registry").registry(),
        analytics=of("analytics").analytics(blobs),
        secrets=of("secrets").secrets(),
        blobs=blobs,
        families=tuple(families.values()),
    )


def _family(name: str, setting: str, settings: Settings, environment: Mapping[str, str]) -> Family:
    if name == "embedded":
        from flockiq.shared.adapters.embedded.connect import Embedded  # noqa: PLC0415 - heavy, and not in Azure

        return Embedded(settings)
    if name == "azure":
        from flockiq.shared.adapters.azure.connect import Azure  # noqa: PLC0415 - the SDKs are heavy too

        return Azure(settings, environment)
    raise ConfigError([Problem(setting, 0, "", f"there are no adapters called {name!r}", "embedded or azure")])


async def close() -> None:
    """Close this process's services, if open."""
    global _open
    if _open is not None:
        opened, _open = _open, None
        await opened.close()
        telemetry.close()

"""Adapters over shared endpoints, as a family of the conformance suites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from flockiq.shared.adapters.azure.identity import credential
from flockiq.shared.adapters.azure.kusto.analytics import KustoAnalytics
from flockiq.shared.adapters.azure.kusto.cluster import Cluster
from flockiq.shared.adapters.azure.secrets import VaultSecrets
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import read
from tests.endpoints.apart import EventsApart, SecretsApart, began
from tests.endpoints.emptying import emptied
from tests.endpoints.place import Place

HUBS = {"changes": 4, "files": 1}
"""The hubs that the suites use, and their partition counts."""


class AtPlace:
    """Microsoft's SDK for one port, over endpoints that others have used before; the other ports are embedded."""

    def __init__(self, place: Place, port: str, embedded: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._place, self._port, self._embedded = place, port, embedded
        self._began: Mapping[tuple[str, int], int] = {}
        for name, value in place.settings.items():
            monkeypatch.setenv(name, value)

    def environment(self) -> Mapping[str, str]:
        """See ``Family.environment``."""
        return {**self._embedded, f"FLOCKIQ_ADAPTERS_{self._port.upper()}": "azure"}

    async def begin(self) -> None:
        """Empty what a test before this one left there, or note where it ended."""
        await emptied(self._port, self._place.settings)
        if self._port == "events":
            services = connect(read(self.environment()))
            self._began = await began(services.events, self._place.prefix, HUBS)
            await services.close()

    def apart(self, services: Services) -> Services:
        """Services as the test is to see them."""
        match self._port:
            case "events":
                return services._replace(events=EventsApart(services.events, self._place.prefix, self._began))
            case "secrets":
                return services._replace(secrets=SecretsApart(services.secrets, self._place.prefix))
            case "analytics" if self._place.inline:
                settings = self._place.settings
                inline = Inline(settings, lambda: credential(settings))
                return services._replace(analytics=KustoAnalytics(inline, services.blobs))
        return services

    async def set_secret(self, name: str, value: str) -> None:
        """See ``Family.set_secret``."""
        login = credential(self._place.settings)
        secrets = VaultSecrets(self._place.settings, lambda: login)
        await SecretsApart(secrets, self._place.prefix).set(name, value)
        await secrets.close()
        await login.close()


class Inline(Cluster):
    """A database where no rows are streamed or queued, as Kusto's emulator is: they come by a command."""

    async def stream(self, table: str, rows: bytes) -> None:
        """See ``Cluster.stream``."""
        how = f"with (format='json', ingestionMappingReference='{table}')"
        text = f".ingest inline into table {table} {how} <|\n{rows.decode()}"

        async def send() -> Any:
            return await (await self._open()).execute_mgmt(self._database, text)

        await self._persist(send, self._verdicts.of, self._stream_within_s, f"a command to {table}")

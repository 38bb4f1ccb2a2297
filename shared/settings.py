"""Settings: environment variables, read once, the same names on every host.

In Azure they are app settings (infra/), on a machine the host sets them from
local.settings.json. Connection names (``EventHub__fullyQualifiedNamespace``, …) belong to the
Functions host and the Azure SDKs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

HUBS: Mapping[str, int] = {"changes": 4, "resolved": 4, "work": 4, "files": 1, "entities": 4, "deltas": 4}
"""Every hub and its default partition count on one machine; Bicep sets more."""

Access = Literal["local", "keys", "entra"]
"""Who may open page and API: only this machine, whoever has a function key, whom Entra ID gives a role."""

PORTS = ("events", "state", "alerts", "registry", "analytics", "secrets", "blobs")
"""The seven ports, as settings name them."""

CONSUMER_GROUP = "$Default"
"""Whose checkpoints the functions have; a host holds its partitions alone."""

READ_GROUP = "flockiq-read"
"""Who reads beside the functions: replays, and how old the oldest waiting event is."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a process runs with."""

    adapters: str = "embedded"  # FLOCKIQ_ADAPTERS: embedded | azure
    adapters_of: Mapping[str, str] = msgspec.field(default_factory=dict)  # FLOCKIQ_ADAPTERS_EVENTS, …: of one port
    data: Path = Path("data")  # FLOCKIQ_DATA: the embedded adapters' folder
    config: Path = Path("config")  # FLOCKIQ_CONFIG
    tenant: str = "default"  # FLOCKIQ_TENANT
    partitions: Mapping[str, int] = msgspec.field(default_factory=lambda: dict(HUBS))  # FLOCKIQ_PARTITIONS_CHANGES, …
    lateness_s: float = 86_400.0  # FLOCKIQ_LATENESS_S
    versions_kept: int = 16  # FLOCKIQ_VERSIONS_KEPT
    compiled: Literal["background", "wait", "off"] = "background"  # FLOCKIQ_COMPILED: when machine code is loaded
    analytics_spool: bool = False  # FLOCKIQ_ANALYTICS_SPOOL: leave rows to the process that holds the DuckDB file
    entity_hubs: bool = True  # FLOCKIQ_ENTITY_HUBS: tell golden records and deltas on hubs entities and deltas
    hub_retention_h: float = 24.0  # FLOCKIQ_HUB_RETENTION_H: for how long hubs keep events, in hours
    raw_days: int = 30  # FLOCKIQ_RAW_DAYS: for how long what came in is kept to be replayed; 0: it is not kept
    access: Access = "local"  # FLOCKIQ_ACCESS
    lease_s: float = 10.0  # FLOCKIQ_LEASE_S: how long what a killed process was reading waits for another
    requests_per_s: float = 50.0  # FLOCKIQ_REQUESTS_PER_S: of one caller to page and API
    state_snapshot_entries: int = 500  # FLOCKIQ_STATE_SNAPSHOT_ENTRIES: roll a log after so many appends


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment; what is not set has its default. ValueError if a number is not one."""
    given: dict[str, object] = {}
    for name in Settings.__struct_fields__:
        variable = f"FLOCKIQ_{name.upper()}"
        if name == "partitions":
            given[name] = {hub: int(environment.get(f"{variable}_{hub.upper()}", n)) for hub, n in HUBS.items()}
        elif name == "adapters_of":
            chosen = {port: environment.get(f"FLOCKIQ_ADAPTERS_{port.upper()}") for port in PORTS}
            given[name] = {port: family for port, family in chosen.items() if family}
        elif variable in environment:
            given[name] = environment[variable]
    return msgspec.convert(given, Settings, strict=False, dec_hook=_hook)


def _hook(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError(kind)

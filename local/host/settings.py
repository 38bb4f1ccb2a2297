"""What a function app's folder sets: host.json and local.settings.json.

https://learn.microsoft.com/azure/azure-functions/functions-host-json
https://learn.microsoft.com/azure/azure-functions/functions-bindings-event-hubs#host-json
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from flockiq.local.host.errors import HostError

DEFAULT_TIMEOUT_S = 1800.0  # Flex Consumption's default
BODY_LIMIT_SETTING = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"  # Azure's own name for it
_DEFAULT_BODY_LIMIT = 104_857_600


class InitialOffset(msgspec.Struct, frozen=True, kw_only=True):
    """Where a function begins that has no checkpoint yet."""

    type: Literal["fromStart"] = "fromStart"


class EventHubs(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """extensions.eventHubs: how batches are cut."""

    max_event_batch_size: int = 100
    min_event_batch_size: int = 1
    max_wait_time: str = "00:01:00"
    prefetch_count: int = 300
    initial_offset_options: InitialOffset = InitialOffset()

    @property
    def max_wait_s(self) -> float:
        """How long a batch below its least size is waited for, in seconds."""
        return duration_s(self.max_wait_time, "extensions.eventHubs.maxWaitTime")


class Http(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """extensions.http: where routes begin and how many requests are held at once."""

    route_prefix: str = "api"
    max_outstanding_requests: int = 200


class Extensions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The extensions this host knows; others are passed over."""

    http: Http = Http()
    event_hubs: EventHubs = EventHubs()


class HostJson(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """host.json, as far as this host acts on it."""

    version: str = "2.0"
    function_timeout: str = ""
    extensions: Extensions = Extensions()

    @property
    def timeout_s(self) -> float | None:
        """How long one invocation may take, in seconds; None without limit."""
        if not self.function_timeout:
            return DEFAULT_TIMEOUT_S
        if self.function_timeout == "-1":
            return None
        return duration_s(self.function_timeout, "functionTimeout")


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """local.settings.json, as the Core Tools write it."""

    is_encrypted: bool = msgspec.field(name="IsEncrypted", default=False)
    values: dict[str, str] = msgspec.field(name="Values", default_factory=dict)


def read_host_json(app: Path) -> HostJson:
    """``app``'s host.json, or the defaults without one. HostError names the field that is wrong."""
    path = app / "host.json"
    host = _read(path, HostJson) if path.is_file() else HostJson()
    hubs = host.extensions.event_hubs
    if host.version != "2.0":
        raise HostError(f'{path}: version is {host.version!r}; this host runs apps of version "2.0".')
    if not 1 <= hubs.min_event_batch_size <= hubs.max_event_batch_size:
        raise HostError(f"{path}: minEventBatchSize must be at least 1 and at most maxEventBatchSize.")
    _ = host.timeout_s, hubs.max_wait_s  # a time span that can't be read stops here, not in the first batch
    return host


def read_local_settings(app: Path) -> Mapping[str, str]:
    """The app settings of ``app``: local.settings.json's, or the example's until there is one."""
    for name in ("local.settings.json", "local.settings.example.json"):
        path = app / name
        if path.is_file():
            settings = _read(path, LocalSettings)
            if settings.is_encrypted:
                raise HostError(f"{path} is encrypted; set IsEncrypted to false and its values in plain text.")
            return settings.values
    return {}


def body_limit(settings: Mapping[str, str]) -> int:
    """The most bytes an HTTP request may carry: Azure's 100 MB, unless its setting says otherwise."""
    given = settings.get(BODY_LIMIT_SETTING, "")
    if not given:
        return _DEFAULT_BODY_LIMIT
    if not given.isdecimal():
        raise HostError(f"{BODY_LIMIT_SETTING} is {given!r}; it is a number of bytes.")
    return int(given)


_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})(\.\d+)?")


def duration_s(text: str, field: str) -> float:
    """A .NET time span (``hh:mm:ss``, ``d.hh:mm:ss.fff``) in seconds. HostError if it is not one."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise HostError(f"host.json: {field} is {text!r}; it is a time span like 00:05:00.")
    days, hours, minutes, seconds, fraction = match.groups(default="0")
    return ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds) + float(fraction)


_REFERENCE = re.compile(r"%([^%\s]+)%")


def substitute(value: str, settings: Mapping[str, str], where: str) -> str:
    """``value`` with every ``%NAME%`` replaced by that app setting. HostError if one is not set."""

    def setting(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in settings:
            raise HostError(
                f"{where} is {value!r}, but the app setting {name} is not set; "
                "give it in local.settings.json or in the environment."
            )
        return settings[name]

    return _REFERENCE.sub(setting, value)


def _read[Model: (HostJson, LocalSettings)](path: Path, model: type[Model]) -> Model:
    try:
        return msgspec.json.decode(path.read_bytes(), type=model)
    except msgspec.DecodeError as error:  # ValidationError, which names the field, is one
        raise HostError(f"{path}: {error}") from error

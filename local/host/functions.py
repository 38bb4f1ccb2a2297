"""The functions of an app, as their bindings declare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from flockiq.local.host.errors import HostError
from flockiq.local.host.messages import RpcFunctionMetadata
from flockiq.local.host.ncrontab import Schedule
from flockiq.local.host.retries import RetryPolicy
from flockiq.local.host.settings import substitute

_SUPPORTED = "HTTP, timer and Event Hub triggers with cardinality many"


class Binding(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One entry of function.json's ``bindings``, with the fields of the triggers this host has."""

    name: str
    type: str
    direction: str = "IN"
    data_type: str = "UNDEFINED"
    # httpTrigger
    route: str = ""
    methods: Sequence[str] = ()
    auth_level: str = "FUNCTION"
    # timerTrigger
    schedule: str = ""
    run_on_startup: bool = False
    use_monitor: bool = True
    # eventHubTrigger
    event_hub_name: str = ""
    consumer_group: str = "$Default"
    cardinality: str = "ONE"


@dataclass(frozen=True, slots=True)
class HttpTrigger:
    """Answers requests to a route below the prefix."""

    route: str
    methods: frozenset[str]  # empty: any
    auth_level: str  # anonymous | function | admin


@dataclass(frozen=True, slots=True)
class TimerTrigger:
    """Runs on a schedule, never twice at once."""

    schedule: Schedule
    run_on_startup: bool
    use_monitor: bool


@dataclass(frozen=True, slots=True)
class EventHubTrigger:
    """Takes the batches of a hub's partitions, for one consumer group."""

    hub: str
    consumer_group: str
    binary: bool  # bodies as bytes; else as text


@dataclass(frozen=True, slots=True)
class Function:
    """One function, ready to be driven."""

    name: str
    id: str
    parameter: str  # the trigger's
    trigger: HttpTrigger | TimerTrigger | EventHubTrigger
    retry: RetryPolicy | None
    is_async: bool


def declared(metadata: RpcFunctionMetadata, settings: Mapping[str, str], *, is_async: bool) -> Function | None:
    """The function ``metadata`` describes; None if the app settings disable it.

    HostError if it has a binding this host does not serve, or a setting it names is not set.
    """
    name = metadata.name
    disabled = settings.get(f"AzureWebJobs.{name}.Disabled") or settings.get(f"AzureWebJobs_{name}_Disabled") or ""
    if disabled.lower() in {"1", "true"}:
        return None
    bindings = [_binding(name, raw, settings) for raw in metadata.raw_bindings]
    others = [b for b in bindings if not b.type.endswith("Trigger") and (b.type, b.name) != ("http", "$return")]
    if others:
        raise HostError(
            f"function {name} binds {others[0].name!r} to {others[0].type!r}, which this host does not serve; "
            "reach that service through its client library."
        )
    trigger = next(b for b in bindings if b.type.endswith("Trigger"))  # the SDK allows exactly one
    return Function(
        name=name,
        id=metadata.function_id,
        parameter=trigger.name,
        trigger=_trigger(name, trigger),
        retry=RetryPolicy.of(metadata.retry_options) if metadata.retry_options else None,
        is_async=is_async,
    )


def _binding(function: str, raw: str, settings: Mapping[str, str]) -> Binding:
    fields = msgspec.json.decode(raw, type=dict[str, object])
    for field, value in fields.items():
        # A connection is itself the name of a setting; the rest of the binding may refer to some.
        if isinstance(value, str) and field != "connection":
            fields[field] = substitute(value, settings, f"function {function}: {field}")
    try:
        return msgspec.convert(fields, Binding)
    except msgspec.ValidationError as error:
        raise HostError(f"function {function}: its binding {fields.get('name')!r} can't be read: {error}") from error


def _trigger(function: str, binding: Binding) -> HttpTrigger | TimerTrigger | EventHubTrigger:
    if binding.type == "httpTrigger":
        methods = frozenset(method.upper() for method in binding.methods)
        return HttpTrigger(binding.route.strip("/"), methods, binding.auth_level.lower())
    if binding.type == "timerTrigger":
        try:
            schedule = Schedule(binding.schedule)
        except ValueError as error:
            raise HostError(f"function {function}: its schedule {binding.schedule!r} can't be read: {error}") from error
        return TimerTrigger(schedule, binding.run_on_startup, binding.use_monitor)
    if binding.type == "eventHubTrigger" and binding.cardinality.upper() == "MANY":
        return EventHubTrigger(
            binding.event_hub_name, binding.consumer_group or "$Default", binding.data_type.upper() == "BINARY"
        )
    shape = "a " + binding.type + (" of cardinality one" if binding.type == "eventHubTrigger" else "")
    raise HostError(f"function {function} has {shape}; this host runs {_SUPPORTED}.")

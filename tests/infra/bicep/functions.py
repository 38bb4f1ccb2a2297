"""Bicep's own functions, as far as infra/ calls them. What Azure alone would know is made up, the same every time."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any


class Runtime(str):
    """A text that only a deployment knows; its value here says where it would come from."""

    __slots__ = ()


class Late(dict[str, Any]):
    """An object of which a deployment knows more: what is asked of it and not there is a ``Runtime``."""

    def __init__(self, name: str, known: Mapping[str, Any]) -> None:
        super().__init__(known)
        self.name = name

    def __missing__(self, key: str) -> Runtime:
        return Runtime(f"{self.name}.{key}")


def _union(first: Any, *others: Any) -> Any:
    if isinstance(first, list):
        return list(dict.fromkeys(item for part in (first, *others) for item in part))
    merged = dict(first)
    for other in others:
        for name, value in other.items():
            both = isinstance(merged.get(name), dict) and isinstance(value, dict)
            merged[name] = _union(merged[name], value) if both else value
    return merged


def _cidr(network: str, bits: int, index: int) -> str:
    return str(list(ipaddress.ip_network(network).subnets(new_prefix=bits))[index])


def _string(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


SUBSCRIPTION = Late("subscription()", {"id": "/subscriptions/zone", "tenantId": "00000000-0000-4000-8000-00000000000d"})
ENVIRONMENT = {
    "suffixes": {"storage": "core.windows.net"},
    "authentication": {"loginEndpoint": "https://login.microsoftonline.com/"},
}

FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "cidrSubnet": _cidr,
    "concat": lambda *parts: [item for part in parts for item in part],
    "empty": lambda value: value is None or len(value) == 0,
    "environment": lambda: ENVIRONMENT,
    "filter": lambda items, keeps: [item for item in items if keeps(item)],
    "guid": lambda *parts: str(uuid.uuid5(uuid.NAMESPACE_OID, "|".join(parts))),
    "indexOf": lambda items, item: items.index(item) if item in items else -1,
    "items": lambda given: [{"key": key, "value": given[key]} for key in sorted(given)],
    "join": lambda texts, between: between.join(texts),
    "map": lambda items, makes: [makes(item) for item in items],
    "max": max,
    "replace": lambda text, old, new: text.replace(old, new),
    "resourceId": lambda kind, *names: f"/rg/{kind}/{'/'.join(names)}",
    "startsWith": lambda text, start: text.lower().startswith(start.lower()),
    "string": _string,
    "subscription": lambda: SUBSCRIPTION,
    "subscriptionResourceId": lambda kind, *names: f"/subscriptions/zone/{kind}/{'/'.join(names)}",
    "tenant": lambda: {"tenantId": SUBSCRIPTION["tenantId"]},
    "toLower": lambda text: text.lower(),
    "toObject": lambda items, key, value=lambda item: item: {key(item): value(item) for item in items},
    "toUpper": lambda text: text.upper(),
    "union": _union,
    "uniqueString": lambda *parts: hashlib.sha256("|".join(parts).encode()).hexdigest()[:13],
}
"""Without loadTextContent and loadJsonContent, which read beside the file that calls them."""

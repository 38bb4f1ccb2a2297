"""Which rules can't be run, as the clock tells it and health reads it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flockiq.shared.errors import Conflict
from flockiq.shared.services import Services

_decode = msgspec.json.Decoder(dict[str, str]).decode


async def failing(services: Services) -> Mapping[str, str]:
    """{rule: why it can't be run}."""
    document = await services.registry.get(_key(services))
    return _decode(document.value) if document else {}


async def note(services: Services, errors: Mapping[str, str]) -> bool:
    """Tell which rules can't be run; False when another clock told at the same time."""
    document = await services.registry.get(_key(services))
    try:
        await services.registry.put(_key(services), msgspec.json.encode(errors), document.etag if document else None)
    except Conflict:
        return False
    return True


def _key(services: Services) -> str:
    return f"rules/{services.settings.tenant}"

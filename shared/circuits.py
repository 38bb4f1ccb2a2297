"""Sources that are left alone because they failed again and again: one circuit a source, known to all instances."""

from __future__ import annotations

import msgspec

from flockiq.shared.services import Services

WAY_OUT = (
    "See whether the source is up and reached from here. One request is let through by itself; when it is answered, "
    "reading goes on where it stood, and nothing is lost."
)


PROBE_US = 150_000_000  # a request let through whose end nobody told; then another is


class Circuit(msgspec.Struct, frozen=True, omit_defaults=True):
    """An open circuit; a closed one is not kept. Times are µs since the epoch."""

    opened_us: int = 0  # 0: it is closed
    until_us: int = 0  # no request before it; then one
    opened: int = 0  # times in a row, the request let through having failed
    probe_us: int = 0  # when that request was let through
    error: str = ""  # how the last request failed

    @property
    def free_us(self) -> int:
        """When a request may be let through, given what is known now."""
        return max(self.until_us, self.probe_us + PROBE_US if self.probe_us else 0)


decode = msgspec.json.Decoder(Circuit).decode


def key(tenant: str, source: str) -> str:
    """Where the registry keeps a source's circuit."""
    return f"circuit/{tenant}/{source}"


async def circuits(services: Services) -> dict[str, Circuit]:
    """{source: circuit} of every source whose circuit is open."""
    prefix = key(services.settings.tenant, "")
    found = await services.registry.list(prefix)
    return {name.removeprefix(prefix): decode(document.value) for name, document in found.items()}

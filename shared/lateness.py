"""How long what comes late is worked out again: for how long after it arrived, and how many versions deep."""

from __future__ import annotations

from typing import NamedTuple

from flockiq.shared.settings import Settings


class Lateness(NamedTuple):
    """What an entity type's config says; None: as the settings have it."""

    us: int | None = None
    versions: int | None = None

    def before_us(self, now_us: int, settings: Settings) -> int:
        """What arrived before this is not worked out again."""
        return now_us - (int(settings.lateness_s * 1e6) if self.us is None else self.us)

    def depth(self, settings: Settings) -> int:
        """How many versions of a record, or of an entity in one source, are kept for late ones."""
        return settings.versions_kept if self.versions is None else self.versions


USUAL = Lateness()
"""As the settings have it."""

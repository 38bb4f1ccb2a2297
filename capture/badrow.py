"""A row of a file that is no record."""

from __future__ import annotations

from flockiq.shared.errors import BadRecord


class BadRow(BadRecord):
    """A row that is no record; ``body`` is what could be read of it. ``number`` counts from 1."""

    def __init__(self, reason: str, body: bytes, number: int) -> None:
        super().__init__(f"row {number:,} {reason}")
        self.body = body

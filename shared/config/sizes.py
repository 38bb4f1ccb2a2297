"""Amounts of data as people write them: ``500KB``, ``20MB``; bytes inside."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

UNITS = {"B": 1, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}
LARGEST = 16 * UNITS["GB"]

_PATTERN = r"([0-9]{1,9})(B|KB|MB|GB)"


def parse_size(text: object) -> int:
    """Bytes of a written amount. ValueError says what is allowed."""
    found = re.fullmatch(_PATTERN, text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{str(text)[:40]!r} is not an amount of data | a number and a unit, such as 500KB or 20MB")
    size = int(found[1]) * UNITS[found[2]]
    if not 0 < size <= LARGEST:
        raise ValueError(f"{text!r} is out of range | between 1B and 16GB")
    return size


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    Field(gt=0),
    WithJsonSchema({"type": "string", "pattern": f"^{_PATTERN}$", "examples": ["500KB", "20MB"]}),
]
"""A pydantic field that people write as text and the code reads in bytes."""

"""What things may be called, and the names that are taken."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from flockiq.shared.instants import zone_info

_FIELD: Final = r"^[a-z][a-z0-9_]{0,62}$"
_NAME: Final = r"^[a-z][a-z0-9_-]{0,62}$"

FieldName = Annotated[str, StringConstraints(pattern=_FIELD)]
Name = Annotated[str, StringConstraints(pattern=_NAME)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]*$")]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=4000)]


def _known_zone(name: str) -> str:
    try:
        zone_info(name)
    except ValueError as error:
        raise ValueError(f"{error} | an IANA name, such as Europe/Berlin") from error
    return name


Zone = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_known_zone)]
"""An IANA time zone that is known here, such as Europe/Berlin."""

SPELLED: Final = {
    _FIELD: "small letters, digits and _, at most 63, a letter first",
    _NAME: "small letters, digits, _ and -, at most 63, a letter first",
}
"""What the patterns of names mean to a person."""

SUBJECTS_TAKEN = frozenset({"feed", "query"})
"""No entity type may be called so: alerts name their subject's type."""

FIELDS_TAKEN = frozenset({
    "any", "entity", "expected", "field", "high", "key", "low", "new", "now", "old", "relative_change", "score",
    "silent", "source", "stream",
    "as", "break", "const", "continue", "else", "false", "for", "function", "has", "if", "import", "in", "let", "loop",
    "namespace", "null", "package", "return", "true", "var", "void", "while",
})  # fmt: skip
"""No field may be called so: conditions and titles use the first rows, CEL the others."""


class Model(BaseModel):
    """What people write: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)

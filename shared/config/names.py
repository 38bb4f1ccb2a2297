"""What things may be called, and the names that are taken."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

FieldName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]*$")]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=4000)]

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

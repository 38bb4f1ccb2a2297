"""Lanes written out as texts of a pool, a column at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from flockiq.shared.lanes import ABSENT, NULL, Int64s, LaneType, Texts, numbers
from flockiq.shared.layout import Field
from flockiq.shared.pool import BOOLEAN, DATE, DECIMAL, INTEGER, MOMENT, Pool, Said

_KINDS: Mapping[LaneType, int] = {
    "boolean": BOOLEAN,
    "date": DATE,
    "decimal": DECIMAL,
    "integer": INTEGER,
    "timestamp": MOMENT,
}


def written(pool: Pool, field: Field, lanes: Int64s, texts: Texts) -> Said:
    """A column of lanes, int64 [n], as text and as JSON strings of it; "" is NULL and ABSENT."""
    if field.kind not in ("string", "json", "float"):
        return pool.lanes(_KINDS[field.kind], field.scale, lanes)
    distinct, which = pool.distinct(lanes)
    missing = (distinct == ABSENT) | (distinct == NULL)
    known = np.flatnonzero(~missing)
    if field.kind == "float":
        there = pool.floats(numbers(field.kind, field.scale, distinct[known]).tolist())
    else:
        there = pool.said(texts.many(distinct[known]))
    if len(known) == len(distinct):
        return Said(there.plain[which], there.quoted[which])
    nothing = pool.said([""])
    plain, quoted = np.repeat(nothing.plain, len(distinct)), np.repeat(nothing.quoted, len(distinct))
    plain[known], quoted[known] = there
    return Said(plain[which], quoted[which])

"""What a fold found: drift that begins or ends, numbers unlike their own history."""

from __future__ import annotations

import numpy as np

from flockiq.compare.anomalies import CLIP
from flockiq.compare.findings import ANOMALY, Findings, of_drift, since, turns
from flockiq.pipeline.rounds import Passed
from flockiq.pipeline.world import World
from flockiq.shared.lanes import NULL, Bools, Int64s
from flockiq.shared.layout import Layout
from flockiq.shared.rows import Rows


def found(world: World, layout: Layout, rows: Rows, passed: Passed, previous: Int64s, before: Bools) -> list[Findings]:
    """What a fold of rows found; ``previous``: of the judged rows; ``before``: the drift of every row's entity."""
    parts: list[Findings] = []
    if layout.tolerances:
        judged = passed.judged
        parts += drifted(
            world,
            layout,
            rows.entity[judged],
            rows.event[judged],
            rows.us[judged],
            passed.drift,
            previous,
            before[judged],
        )
    with np.errstate(invalid="ignore"):
        at = np.flatnonzero(np.abs(passed.observed.score) > CLIP)
    if len(at):
        one, k = passed.observed.take(at), len(at)
        entity, event, us = rows.entity[one.row], rows.event[one.row], rows.us[one.row]
        kind, nothing = np.full(k, ANOMALY, np.int8), np.full(k, NULL, np.int64)
        parts.append(Findings(entity, one.field, kind, event, us, nothing, *one[2:]))
    return parts


def drifted(
    world: World,
    layout: Layout,
    entity: Int64s,
    event: Int64s,
    us: Int64s,
    drift: Bools,
    previous: Int64s,
    before: Bools,
) -> list[Findings]:
    """Where sources begin to disagree, or agree again; each column is of the rows, which are in order."""
    turned = turns(drift, previous, before)
    if not len(turned.row):
        return []
    begun = since(turned, entity, event, world.signs.since)
    fields = np.array([one.field for one in layout.tolerances], np.int64)
    return [of_drift(turned, begun, entity, event, us, fields)]

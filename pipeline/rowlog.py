"""The late-data log searched by compiled code: what ``History.find`` does without building anything.

Imported only by pipeline/compiled.py, as pipeline/rowwise.py is.
"""

from __future__ import annotations

from flockiq.pipeline.machine import Array, Columns, compiled


@compiled
def logged(rows: Columns, head: Array, previous: Array, log: Columns, found: Array) -> None:
    """Where in the log the row of the same event, position and entity is, for each row; -1: nowhere.

    ``head``: each group's newest row; ``previous``: the one before each in its group.
    """
    for i in range(len(found)):
        at = head[rows.group[i]]
        while at >= 0 and not (
            log.event[at] == rows.event[i]
            and log.us[at] == rows.us[i]
            and log.rr[at] == rows.rr[i]
            and log.entity[at] == rows.entity[i]
        ):
            at = previous[at]
        found[i] = at

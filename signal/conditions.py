"""Conditions over folded rows: which rules begin, go on, end or happen.

Conditions are evaluated as columns, for every row of a batch at once; what changed is the old bits
XOR the new, and only those few rows are looked at one by one, in the order of their rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from flockiq.shared.lanes import Int64s, Texts
from flockiq.signal.by_columns import by_columns
from flockiq.signal.by_program import Machine, by_program
from flockiq.signal.episodes import Episodes
from flockiq.signal.ruleset import Ruleset
from flockiq.signal.seen import Act, Seen
from flockiq.signal.told import told


def evaluate(
    rules: Ruleset,
    seen: Seen,
    before: Int64s,
    episodes: Episodes,
    texts: Texts,
    acts: Sequence[Act] = (),
    *,
    machine: Machine | None = None,
) -> Int64s:
    """Take the episodes through some rows; returns the holds words after each, int64 [r].

    ``before``: the words of the rows' entities before all of them, int64 [r]. With a ``machine``, machine
    code evaluates what it can.
    """
    if machine is None:
        after, hits = by_columns(rules, seen, before, texts)
    else:
        after, hits = by_program(rules, seen, before, texts, machine)
    told(rules, hits, acts, seen, episodes, texts)
    return after

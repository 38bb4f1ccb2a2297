"""Histories through the whole engine end as the row-by-row reference says; a broken engine does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flockiq.compare import anomalies
from flockiq.merge import golden
from flockiq.pipeline import plans, types, world
from flockiq.pipeline.told import Telling
from flockiq.shared import outbox
from flockiq.shared.owner import Owner
from flockiq.signal.episodes import Episodes
from tests.convergence.doubles import Log, State
from tests.convergence.main import run_case

ENOUGH = 12  # cases within which every mutant is found out


def test_whatever_goes_wrong_on_the_way_the_end_is_the_references() -> None:
    """Kills, rivals, refusals and repetitions at every point; nothing compared is empty."""
    counts: Counter[str] = Counter()
    for seed in range(8):
        case = run_case(seed)
        assert case.differences == []
        counts += case.counts
    for what in ("golden records", "effective deltas", "open alerts"):
        assert counts[f"compared {what}"] > 0
    for point in ("folded", "committed", "published"):
        assert counts[f"killed when {point}"] > 0
    assert counts["overtaken between fold and commit"] > 0


Patch = Callable[[pytest.MonkeyPatch], None]


def _older_wins(patch: pytest.MonkeyPatch) -> None:
    newer = golden._newer

    def older(us: Any, rr: Any, tie: Any, *than: Any) -> Any:
        return newer(*than, us, rr, tie)

    patch.setattr(golden, "_newer", older)


def _alerts_dropped_from_the_outbox(patch: pytest.MonkeyPatch) -> None:
    publish = outbox.publish

    async def dropping(services: Any, box: Any) -> None:
        box.transitions = box.transitions[1:]
        await publish(services, box)

    patch.setattr(outbox, "publish", dropping)


def _fence_ignored(patch: pytest.MonkeyPatch) -> None:
    def at(self: State, log: str, _: Any) -> Log:
        return self._logs.setdefault(log, Log())

    patch.setattr(State, "_at", at)


def _unpublished_forgotten(patch: pytest.MonkeyPatch) -> None:
    load = Owner._load

    async def forgetting(self: Owner) -> None:
        await load(self)
        self._pending = {}

    patch.setattr(Owner, "_load", forgetting)


def _late_rows_folded_as_they_come(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(types.TypeState, "_late", lambda _self, _rows: np.zeros(0, np.int64))


def _retractions_untold(patch: pytest.MonkeyPatch) -> None:
    deltas = Telling._deltas

    def silent(self: Telling, state: Any, told: Any, *, retracted: bool = False) -> None:
        if not retracted:
            deltas(self, state, told)

    patch.setattr(Telling, "_deltas", silent)


def _ranks_reversed(patch: pytest.MonkeyPatch) -> None:
    ranks = plans._ranks
    patch.setattr(plans, "_ranks", lambda best, sources: tuple(-rank for rank in ranks(best, sources)))


def _learnt_twice(patch: pytest.MonkeyPatch) -> None:
    def twice(*arguments: Any) -> Any:
        anomalies.observe(*arguments)
        return anomalies.observe(*arguments)

    patch.setattr(world, "observe", twice)


def _clock_unheard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Episodes, "passes", lambda _self, _watches, _now_us: None)


def _drift_unseen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(world, "disagree", lambda value, layout, _: np.zeros((len(value), len(layout.tolerances)), np.bool_))


def _presses_unheard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Episodes, "closes", lambda _self, _entity, _watch, _us: None)


MUTANTS: tuple[Patch, ...] = (
    _older_wins,
    _alerts_dropped_from_the_outbox,
    _fence_ignored,
    _unpublished_forgotten,
    _late_rows_folded_as_they_come,
    _retractions_untold,
    _ranks_reversed,
    _learnt_twice,
    _clock_unheard,
    _drift_unseen,
    _presses_unheard,
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__.strip("_"))
def test_a_broken_engine_is_found_out(mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these faults shows as a difference within a few cases."""
    mutant(monkeypatch)
    assert any(_found_out(seed) for seed in range(ENOUGH))


def _found_out(seed: int) -> bool:
    try:
        return bool(run_case(seed, arrangements=2).differences)
    except Exception:  # noqa: BLE001 - an engine that breaks down is found out as well
        return True

"""The compiled pass, where it is ready: loaded in the background, so that nothing waits for a compiler.

Machine code is kept in the user's own cache folder, one folder for each version of what it is made
from. Where numba is not installed, or until it has loaded, pipeline/rounds.py does the same.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import threading
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np

from flockiq.compare.drift import exceeded
from flockiq.pipeline.codes import (
    NORMALISED,
    Codes,
    GoldenColumns,
    Out,
    RowColumns,
    SeriesColumns,
    codes,
    room,
)
from flockiq.pipeline.rounds import Passed
from flockiq.pipeline.world import World
from flockiq.shared.lanes import Texts
from flockiq.shared.lanetable import Lookup, places
from flockiq.shared.layout import Field, Layout
from flockiq.shared.rows import Rows
from flockiq.signal.seen import Observed

Mode = Literal["background", "wait", "off"]

_NAME = "flockiq.pipeline.rowwise"
_PARTS = ("pipeline/rowwise.py", "pipeline/codes.py", "compare/anomalies.py", "compare/drift.py", "shared/lanes.py")


class _Loading:
    """One load of the compiled functions in this process."""

    def __init__(self) -> None:
        self.mode: Mode = "background"
        self.module: ModuleType | None = None
        self.error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def ready(self) -> ModuleType | None:
        """The functions, or None while they are not there."""
        if self.mode == "off":
            return None
        if self.module is None and self.error is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._load, name="compiling", daemon=True)
                    self._thread.start()
            if self.mode == "wait":
                self._thread.join()
        return self.module

    def _load(self) -> None:
        try:
            module = _imported()
            _warm(module)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with a compiler, numpy does the same work
            self.error = error
            return
        self.module = module


_loading = _Loading()


def ready() -> ModuleType | None:
    """The compiled functions, or None while they are not there; the first call begins to load them."""
    return _loading.ready()


def use(mode: Mode) -> None:
    """How to load: in the background, waited for, or not at all."""
    _loading.mode = mode


def failure() -> BaseException | None:
    """Why there is no compiled pass, where loading it failed."""
    return _loading.error


def _imported() -> ModuleType:
    numba = importlib.import_module("numba")
    root = Path(__file__).parents[1]
    made_from = b"".join((root / part).read_bytes() for part in _PARTS) + str(numba.__version__).encode()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flockiq"
    numba.config.CACHE_DIR = str(cache / hashlib.sha256(made_from).hexdigest()[:16])
    return importlib.import_module(_NAME)


def _warm(module: ModuleType) -> None:
    """Have everything compiled, or read from the cache, by a first call with nothing to do."""
    layout = Layout("", (Field("field", "integer"),), ("source",), "", ((),), ((0,),))
    world = World.empty(layout, 1, 1)
    none = {name: np.zeros(0, np.int64) for name in Rows.names}
    rows = Rows(**(none | {"op": np.zeros(0, np.int8), "value": np.zeros((0, 1), np.int64)}))
    fold(module, world, layout, rows, Texts())


def fold(module: ModuleType, world: World, layout: Layout, rows: Rows, texts: Texts) -> Passed:
    """Fold rows, sorted by group and position, into ``world`` in place; what ``rounds.in_rounds`` does."""
    told = codes(layout)
    out = room(layout, len(rows))
    judged, deltas, observed = module.fold_rows(
        RowColumns._make(np.ascontiguousarray(getattr(rows, name)) for name in RowColumns._fields),
        GoldenColumns._make(getattr(world.golden, name) for name in GoldenColumns._fields),
        world.signs.drift,
        SeriesColumns(world.series.count, world.series.mean, world.series.variance, world.series.quiet_us),
        told,
        _lengths(module, texts, told),
        out,
    )
    _normalised(world, layout, rows, texts, told, out, judged)
    return Passed(
        judged=out.judged[:judged],
        golden=out.golden[:judged],
        fresh=out.fresh[:judged],
        drift=out.drift[:judged],
        row=out.row[:deltas],
        field=out.field[:deltas],
        kind=out.kind[:deltas],
        old=out.old[:deltas],
        new=out.new[:deltas],
        source=out.source[:deltas],
        observed=_observed(layout, out, observed),
    )


def _lengths(module: ModuleType, texts: Texts, told: Codes) -> Lookup:
    """The lengths of all texts, where a cascade asks for them."""
    return texts.table(module.insert) if told.by_length else _NO_LENGTHS


_NO_LENGTHS = places(0)


def _normalised(world: World, layout: Layout, rows: Rows, texts: Texts, told: Codes, out: Out, judged: int) -> None:
    """Where texts differ as they stand, ask again of their normal forms."""
    for number, how in enumerate(told.drift_how.tolist()):
        if how != NORMALISED:
            continue
        suspect = np.flatnonzero(out.drift[:judged, number])
        if len(suspect):
            found = exceeded(out.said[suspect, number], layout, layout.tolerances[number], texts)
            out.drift[suspect, number] = found
            entity = rows.entity[out.judged[:judged]]
            world.signs.drift[entity, number] = out.drift[:judged, number]  # an entity's last row is what stays


def _observed(layout: Layout, out: Out, count: int) -> list[Observed]:
    found = []
    which = out.seen_base[:count]
    for number, baseline in enumerate(layout.baselines):
        at = np.flatnonzero(which == number)
        if len(at):
            columns = (out.seen_value, out.seen_score, out.seen_expected, out.seen_low, out.seen_high)
            found.append(Observed(baseline.field, out.seen_row[at], *(column[at] for column in columns)))
    return found

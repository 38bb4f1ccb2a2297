"""The compiled functions of the pipeline, where they are ready (shared/machine/loading.py).

Until then, and where numba is not installed, pipeline/rounds.py and pipeline/decode.py do the same without.
"""

from __future__ import annotations

from typing import NamedTuple

from flockiq.shared.machine.loading import Function, Loading, Mode, use

__all__ = ["Functions", "Mode", "failure", "loading", "ready", "use"]


class Functions(NamedTuple):
    """The compiled functions that Python calls."""

    reindex: Function
    fold_rows: Function
    scan: Function
    read_fields: Function
    enter: Function
    logged: Function
    sort_out: Function
    keep: Function
    put_in_order: Function
    shared: Function
    measure_deltas: Function
    tell_deltas: Function
    turn_drift: Function
    measure_entities: Function
    tell_entities: Function
    run_block: Function
    judge: Function


loading = Loading(
    Functions,
    modules=(
        "flockiq.shared.cel.rowprogram",
        "flockiq.shared.machine.code",
        "flockiq.pipeline.rowwise",
        "flockiq.pipeline.rowread",
        "flockiq.pipeline.rowfields",
        "flockiq.pipeline.rowenter",
        "flockiq.pipeline.rowdelta",
        "flockiq.pipeline.rowfound",
        "flockiq.pipeline.rowgolden",
        "flockiq.pipeline.rowlog",
        "flockiq.pipeline.roworder",
        "flockiq.signal.rowjudge",
    ),
    made_from=(
        "compare/anomalies.py",
        "compare/drift.py",
        "merge/ages.py",
        "merge/golden.py",
        "merge/survivorship.py",
        "pipeline/codes.py",
        "pipeline/logged.py",
        "pipeline/parts.py",
        "pipeline/prints.py",
        "pipeline/rowchoose.py",
        "pipeline/rowdelta.py",
        "pipeline/rowenter.py",
        "pipeline/rowfields.py",
        "pipeline/rowfound.py",
        "pipeline/rowgolden.py",
        "pipeline/rowindex.py",
        "pipeline/rowjson.py",
        "pipeline/rowknown.py",
        "pipeline/rowlog.py",
        "pipeline/roworder.py",
        "pipeline/rowread.py",
        "pipeline/rowscore.py",
        "pipeline/rowspell.py",
        "pipeline/rowtake.py",
        "pipeline/rowwise.py",
        "pipeline/tellings.py",
        "shared/cel/program.py",
        "shared/cel/rowprogram.py",
        "shared/layout.py",
        "shared/machine/ids.py",
        "shared/machine/structs.py",
        "shared/machine/spelling.py",
        "signal/hits.py",
        "signal/programs.py",
        "signal/rowjudge.py",
        "signal/rowlook.py",
        "signal/table.py",
    ),
    warm="flockiq.pipeline.warm",
    where="flockiq.pipeline.compiled",
)


def ready() -> Functions | None:
    """The compiled functions, or None while they are not there; the first call begins to load them."""
    return loading.ready()


def failure() -> BaseException | None:
    """Why there is no compiled pass, where loading it failed."""
    return loading.error

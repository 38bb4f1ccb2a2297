"""The compiled functions of merging, where they are ready (shared/machine/loading.py).

Until then, and where numba is not installed, merge/plainly.py and merge/rounds.py do the same without.
"""

from __future__ import annotations

from typing import NamedTuple

from flockiq.shared.machine.loading import Function, Loading, use

__all__ = ["Functions", "failure", "loading", "ready", "use"]


class Functions(NamedTuple):
    """The compiled functions that Python calls."""

    scan_changes: Function
    streams_of: Function
    records_of: Function
    learn: Function
    map_records: Function
    place_records: Function
    judge: Function
    write_lines: Function
    gather: Function


loading = Loading(
    Functions,
    modules=(
        "flockiq.merge.rowscan",
        "flockiq.merge.rowknown",
        "flockiq.merge.rowmap",
        "flockiq.merge.rowmerge",
        "flockiq.merge.rowlate",
        "flockiq.merge.rowjudge",
        "flockiq.merge.rowline",
    ),
    made_from=(
        "merge/codes.py",
        "merge/known.py",
        "merge/rowjudge.py",
        "merge/rowknown.py",
        "merge/rowlate.py",
        "merge/rowline.py",
        "merge/rowmap.py",
        "merge/rowmerge.py",
        "merge/rowscan.py",
        "merge/rowvalue.py",
        "shared/machine/spelling.py",
    ),
    warm="flockiq.merge.warm",
    where="flockiq.merge.compiled",
)


def ready() -> Functions | None:
    """The compiled functions, or None while they are not there; the first call begins to load them."""
    return loading.ready()


def failure() -> BaseException | None:
    """Why there are none, where loading them failed."""
    return loading.error

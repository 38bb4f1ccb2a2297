"""Machine code is made by a process of its own, so that the one that works goes on working."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flockiq.pipeline import compiled
from flockiq.shared.machine import apart
from flockiq.shared.machine.loading import Loading
from tests.pipeline import small_stage

PATIENCE_S = 60


@pytest.fixture
def loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loading[small_stage.Functions]]:
    """A load of which nothing has been made yet, by a process that waits for nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    known = small_stage.loading
    compiled.use("background")
    yield Loading(small_stage.Functions, known.modules, known.made_from, small_stage.__name__, small_stage.__name__)
    compiled.use("wait")


def end(loading: Loading[small_stage.Functions]) -> small_stage.Functions | None:
    """What it has loaded in the end."""
    loading.ready()
    assert loading._thread is not None
    loading._thread.join(PATIENCE_S)
    return loading.ready()


def test_another_process_makes_it_and_this_one_only_loads_it(loading: Loading[small_stage.Functions]) -> None:
    """What was made is there for every later process."""
    apart.make(small_stage.__name__)
    assert apart.made(loading.folder).exists()
    assert list(loading.folder.rglob("*.nbc"))


def test_it_is_made_apart_once(loading: Loading[small_stage.Functions], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is first loaded, and never again."""
    asked: list[str] = []
    make = apart.make

    def noted(module: str) -> None:
        asked.append(module)
        make(module)

    monkeypatch.setattr(apart, "make", noted)
    assert end(loading) is not None
    again = Loading(small_stage.Functions, loading.modules, loading.made_from, small_stage.__name__, "")
    assert end(again) is not None
    assert asked == [small_stage.__name__]


def test_where_it_can_not_be_made_apart_it_is_made_here(
    loading: Loading[small_stage.Functions], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host may forbid processes, or end them."""

    def refused(module: str) -> None:
        raise subprocess.CalledProcessError(1, module)

    monkeypatch.setattr(apart, "make", refused)
    assert end(loading) is not None


def test_a_process_that_fails_is_told() -> None:
    """By its exit code."""
    with pytest.raises(subprocess.CalledProcessError):
        apart.make("tests.pipeline.no_such_stage")

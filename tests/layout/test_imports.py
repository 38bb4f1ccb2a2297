"""What is imported is pinned: nothing that runs in Azure leans on a package only a developer has."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOYED = ("capture", "merge", "compare", "signal", "serve", "pipeline", "shared", "function_app.py")
LOCAL = ("cli", "local")
EMBEDDED = ROOT / "shared" / "adapters" / "embedded"
OURS_AND_PYTHONS = {"flockiq", *sys.stdlib_module_names}
OWNERS = packages_distributions()


def modules(*names: str) -> Iterator[Path]:
    """The Python files under these folders of the repository."""
    for name in names:
        path = ROOT / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def outside(path: Path) -> Iterator[str]:
    """The packages a file imports that are neither the standard library nor ours."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from {
            first for name in names if (first := name.split(".")[0]) not in {"flockiq", *sys.stdlib_module_names}
        }


def pinned(*files: str) -> set[str]:
    """The names that requirements files pin, without what they include."""
    lines = (line for file in files for line in (ROOT / file).read_text().splitlines())
    return {_plain(line.split("==")[0]) for line in lines if "==" in line}


def unpinned(paths: Iterator[Path], requirements: set[str]) -> list[str]:
    """Each import of a package that none of ``requirements`` brings by its own name."""
    return sorted(
        f"{path.relative_to(ROOT)} imports {package}"
        for path in paths
        for package in outside(path)
        if not requirements & {_plain(owner) for owner in OWNERS.get(package, ())}
    )


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def test_what_is_deployed_imports_only_what_is_deployed() -> None:
    """requirements.txt pins every package that the app in Azure imports, by name."""
    paths = (path for path in modules(*DEPLOYED) if not path.is_relative_to(EMBEDDED))
    assert unpinned(paths, pinned("requirements.txt")) == []


def test_what_runs_on_a_machine_imports_only_what_is_installed_for_it() -> None:
    """`make run` does without the packages of tests and tools."""
    paths = (path for path in modules(*LOCAL, "shared/adapters/embedded"))
    assert unpinned(paths, pinned("requirements.txt", "requirements-local.txt")) == []


@pytest.mark.parametrize("line", ["import pytest", "from hypothesis import given", "def f():\n    import rich.live"])
def test_a_package_that_is_not_deployed_is_seen(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above finds each way of importing it."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "stage.py").write_text(line)
    assert len(unpinned(iter([tmp_path / "stage.py"]), {"msgspec"})) == 1

"""The layout that everything leans on: where modules live, and what may import what."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAGES = {"capture", "merge", "compare", "signal", "serve"}
FOLDERS = STAGES | {"shared", "pipeline", "cli", "local"}

MAY_IMPORT: dict[str, set[str]] = {
    "shared": {"shared"},
    **{stage: {stage, "shared"} for stage in STAGES},
    "pipeline": {"pipeline", "shared"} | STAGES,
    "function_app": {"pipeline", "shared"} | STAGES,
    "cli": FOLDERS | {"function_app"},
    "local": FOLDERS | {"function_app"},
}


def part(module: Path) -> str:
    """The folder (or top-level module) that a file belongs to."""
    return module.relative_to(ROOT).parts[0].removesuffix(".py")


def modules() -> Iterator[Path]:
    """Every module of the app."""
    yield from (path for folder in sorted(FOLDERS) for path in sorted((ROOT / folder).rglob("*.py")))
    yield ROOT / "function_app.py"


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Each line and dotted name that ``source`` imports, inside functions and type blocks too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield node.lineno, base
            if base == "flockiq":
                yield from ((node.lineno, f"flockiq.{alias.name}") for alias in node.names)


def wrong_arrows(owner: str, source: str) -> list[str]:
    """What ``source``, a module of ``owner``, imports though it may not."""
    wrong = []
    for line, name in imported(source):
        first, _, rest = name.partition(".")
        if not first:
            wrong.append(f"line {line}: a relative import; write flockiq.<folder>.<module>")
        elif first == "flockiq" and rest:
            target = rest.split(".")[0]
            if target in FOLDERS | {"function_app"} and target not in MAY_IMPORT[owner]:
                wrong.append(f"line {line}: {owner} may not import {target}")
        elif first in FOLDERS - {"signal"}:
            wrong.append(f"line {line}: {name} must be imported as flockiq.{name}")
    return wrong


def test_no_stage_folder_is_a_package() -> None:
    """An ``__init__.py`` in signal/ would hide the standard library's signal from asyncio."""
    assert [str(path) for folder in sorted(FOLDERS) for path in (ROOT / folder).rglob("__init__.py")] == []


def test_every_module_of_the_app_obeys_the_arrows() -> None:
    """function_app → pipeline → stages → shared; nothing imports cli or local."""
    wrong = [
        f"{path.relative_to(ROOT)}, {fault}"
        for path in modules()
        for fault in wrong_arrows(part(path), path.read_text())
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("owner", "source"),
    [
        ("merge", "from flockiq.compare.deltas import Delta"),
        ("merge", "def f():\n    import flockiq.pipeline.pass_one"),
        ("shared", "from flockiq import merge"),
        ("pipeline", "from flockiq.local.host import host"),
        ("serve", "if TYPE_CHECKING:\n    from flockiq.cli import run"),
        ("function_app", "from flockiq.local.host import host"),
        ("capture", "from . import cursors"),
        ("capture", "from shared.ports import Registry"),
    ],
)
def test_a_wrong_arrow_is_seen(owner: str, source: str) -> None:
    """The check above finds each way of writing a forbidden import."""
    assert len(wrong_arrows(owner, source)) == 1


@pytest.mark.parametrize(
    ("owner", "source"),
    [
        ("pipeline", "from flockiq.merge.fold import fold\nfrom flockiq.shared.ports import Registry"),
        ("cli", "import signal\nfrom flockiq.local.host.host import Host"),
        ("signal", "from flockiq.signal.rules import Rule"),
    ],
)
def test_a_right_arrow_is_let_through(owner: str, source: str) -> None:
    """Downward imports, a folder's own modules and the standard library's signal are fine."""
    assert wrong_arrows(owner, source) == []


def test_function_app_only_registers() -> None:
    """function_app.py makes the app and registers blueprints on it; it decides and defines nothing."""
    nodes = list(ast.walk(ast.parse((ROOT / "function_app.py").read_text())))
    decides = (
        ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda | ast.If | ast.Try | ast.While | ast.With
    )
    assert [f"line {node.lineno}" for node in nodes if isinstance(node, decides)] == []
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert called == {"func.FunctionApp", "app.register_functions"}


@pytest.mark.parametrize("module", ["asyncio", "signal"])
def test_a_script_at_the_root_gets_the_standard_library(module: str) -> None:
    """The Functions worker starts with the app's folder first on its path; signal/ must not win there."""
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", f"import {module}; print({module}.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).is_relative_to(ROOT / "signal")

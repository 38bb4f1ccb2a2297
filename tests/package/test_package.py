"""The zip that is deployed: what is in it, and that it runs where nothing else is."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from flockiq.bench.cold_part import cold_start
from flockiq.local.package import build, files

ROOT = Path(__file__).parents[2]
FUNCTIONS = [
    "capture_file",
    "capture_schedule",
    "capture_slice",
    "capture_webhook",
    "health",
    "keep_raw",
    "merge_changes",
    "process_resolved",
    "serve",
    "signal_clock",
]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The package, extracted."""
    with zipfile.ZipFile(build(tmp_path / "flockiq.zip")) as package:
        package.extractall(tmp_path / "app")
    return tmp_path / "app"


def test_the_package_holds_what_the_app_needs_and_nothing_else() -> None:
    """Code, config, queries and pages; no tests, tools, settings, secrets, leftovers or embedded adapters."""
    names = [path.as_posix() for path in files()]
    top = {name.partition("/")[0] for name in names}
    stages = {"capture", "merge", "compare", "signal", "serve", "pipeline", "shared"}
    assert top == {*stages, "config", "eventhouse", "flockiq.py", "function_app.py", "host.json", "requirements.txt"}
    assert {"serve/templates/entity.html", "eventhouse/queries/entity.kql", "config/sources/crm.yaml"} <= set(names)
    assert not [name for name in names if "embedded" in name or "__pycache__" in name or "settings.json" in name]


def test_what_funcignore_names_stays_behind(tmp_path: Path) -> None:
    """By git's rules: names, folders, wildcards, anchors, exceptions; links lead nowhere."""
    for name in ("a.py", "b/c.pyc", "d/e.py", "f/d/g.py", "keep.log", "drop.log", "h/__pycache__/i.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "link.py").symlink_to(tmp_path / "a.py")
    (tmp_path / ".funcignore").write_text("# none of\n*.pyc\n/d\n__pycache__\n*.log\n!keep.log\n.funcignore\n")
    assert [path.as_posix() for path in files(tmp_path)] == ["a.py", "f/d/g.py", "keep.log"]


def test_the_same_files_make_the_same_package(tmp_path: Path) -> None:
    """Whoever builds it again can compare."""
    assert build(tmp_path / "a.zip").read_bytes() == build(tmp_path / "b.zip").read_bytes()


def test_the_extracted_package_answers_without_the_repository(app: Path) -> None:
    """It starts from its own folder, indexes every function and serves a file, as quickly as a cold start must."""
    started = cold_start(app)
    assert started.functions == FUNCTIONS
    assert started.status == "200"
    assert started.import_cpu_s <= 1.5


def test_an_app_that_lacks_a_module_does_not_start(app: Path) -> None:
    """So that the tests around this one mean something."""
    (app / "shared" / "wire.py").unlink()
    with pytest.raises(RuntimeError, match=r"flockiq\.shared\.wire|cannot import name 'wire'"):
        cold_start(app)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_runs_in_an_environment_that_holds_what_requirements_pins_and_nothing_else(
    app: Path, tmp_path: Path
) -> None:
    """Packages as Azure's build installs them; the worker library lies apart from them, as in Azure."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    python, worker = str(home / "bin" / "python"), tmp_path / "worker"
    _pip(python, "-r", str(app / "requirements.txt"))
    version = importlib.metadata.version("azure-functions-runtime")
    base = importlib.metadata.version("azurefunctions-extensions-base")
    _pip(
        python, "--no-deps", "--target", str(worker),
        f"azure-functions-runtime=={version}", f"azurefunctions-extensions-base=={base}",
    )  # fmt: skip
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True)  # noqa: S603
    installed = {line.split()[0].lower() for line in listed.stdout.splitlines()[2:]}
    assert not installed & {"pytest", "duckdb", "rich", "uvicorn", "mypy", "azure-functions-runtime"}
    started = cold_start(app, python, PYTHONPATH=str(worker))
    assert started.functions == FUNCTIONS
    assert started.status == "200"
    assert started.import_cpu_s <= 1.5


def _pip(python: str, *arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 - the environment's own interpreter
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments],
        env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_this_python_is_the_one_it_is_deployed_on() -> None:
    """What is shown here holds for Azure only on the same Python."""
    assert f"{sys.version_info.major}.{sys.version_info.minor}" == (ROOT / ".python-version").read_text().strip()

"""What the files of the repository may and must say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from flockiq.shared.config.load import load

ROOT = Path(__file__).parents[2]
PLACES = re.compile(
    "|".join(
        (
            r"(?:files\.python" + r"hosted|pypi|registry\.npm" + r"js|registry\.yarn" + r"pkg)\.(?:org|com)",
            r"--(?:extra-)?index" + r"-url",
            r"--find" + r"-links",
            r"(?<![\w.$}])/(?:root|work|opt|home/\w+|Users/\w+)/[\w.]",
        )
    )
)


def tracked() -> list[Path]:
    """Every file under version control that is there and is text."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink() and b"\0" not in path.read_bytes()]


def pinned(requirements: str) -> dict[str, str]:
    """{package: version} of a requirements file, without what it includes."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / requirements).read_text().splitlines())
    return dict(line.split("==") for line in lines if line and not line.startswith("-r "))


def test_no_file_names_a_machine_or_a_registry() -> None:
    """Whoever clones this has other folders, and may fetch packages from elsewhere."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: there is no list of files to read")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in tracked()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        for match in PLACES.finditer(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "see /ro" + "ot/.pyenv/bin",
        'Path("/wo' + 'rk/main")',
        "/ho" + "me/ann/flockiq",
        "pip install --index" + "-url x",
        "https://files.python" + "hosted.org/packages",
    ],
)
def test_such_a_name_is_seen(line: str) -> None:
    """The check above finds each kind of place."""
    assert PLACES.search(line)


@pytest.mark.parametrize("line", ["/usr/bin/chromium", "shared/work/x", "https://example.com/home", "$HOME/opt/x"])
def test_an_honest_path_is_let_through(line: str) -> None:
    """System programs, relative paths and addresses are no machine's own."""
    assert PLACES.search(line) is None


@pytest.mark.parametrize("requirements", ["requirements.txt", "requirements-local.txt", "requirements-dev.txt"])
def test_every_dependency_is_pinned_and_explained(requirements: str) -> None:
    """docs/dependencies.md says of each package what it is for and why it was chosen."""
    explained = set(re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE))
    assert set(pinned(requirements)) - explained == set()


def test_no_explained_dependency_has_gone() -> None:
    """docs/dependencies.md tells of nothing that is no longer installed."""
    explained = set(re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE))
    installed = {name for path in ROOT.glob("requirements*.txt") for name in pinned(path.name)}
    assert explained - installed == set()


def test_help_lists_every_command_of_the_makefile() -> None:
    """``make`` alone shows all that one can do."""
    targets = set(re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split())  # type: ignore[index]
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S607
    assert {line.split()[1] for line in shown.splitlines()} == targets


def test_what_is_published_leaves_the_developers_folders_behind() -> None:
    """.funcignore holds back everything that is never deployed."""
    ignored = set((ROOT / ".funcignore").read_text().splitlines())
    assert {"tests", "bench", "cli", "local", "docs", "infra", "typings", ".venv", "data"} <= ignored
    assert "shared/adapters/embedded" in ignored
    assert not {"config", "eventhouse", "shared", "serve", "pipeline", "flockiq.py", "host.json"} & ignored


def test_settings_of_the_example_are_strings_without_secrets() -> None:
    """The Functions host reads only strings; the example is committed, so it holds no key."""
    values = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]
    assert all(isinstance(value, str) for value in values.values())
    assert not [name for name, value in values.items() if "key=" in value.lower() or "secret" in name.lower()]


def test_the_source_that_the_readme_shows_is_complete(tmp_path: Path) -> None:
    """Whoever copies the example into config/sources/ has a config that loads, and at most ten lines to read."""
    (example,) = re.findall(r"```yaml\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "config/sources/northwind.yaml").write_text(example)
    source = load(tmp_path / "config", {}).sources["northwind"]
    assert len(example.splitlines()) <= 10
    assert set(source.streams) == {"customers"}

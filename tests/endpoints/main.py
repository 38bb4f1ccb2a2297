"""``make test-emulators`` and ``make test-live``: the conformance suites over endpoints that are not ours.

Exit code 0 with one line said if there is nothing to run over; else that of the tests. What the tests take beside
is given on to pytest.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from flockiq.shared.adapters.azure.identity import CLIENT_ID
from tests.endpoints import emulators
from tests.endpoints.live import Az, Unready, made
from tests.endpoints.place import Place, write

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ("docker", "compose", "--file", str(emulators.FOLDER / "compose.yaml"))
START_S = 300.0
SETTLE_S = 120.0  # an emulator listens before it serves


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for."""
    asked = argparse.ArgumentParser(prog="python -m tests.endpoints.main", description=__doc__)
    asked.add_argument("over", choices=("emulators", "live"))
    asked.add_argument("--keep", action="store_true", help="leave the emulators running")
    asked.add_argument("--group", default="", help="live: the resource group; else what azd's environment says")
    options, more = asked.parse_known_args(arguments)
    if options.over == "live":
        return over_live(options.group, more)
    return over_emulators(more, keep=options.keep)


def over_emulators(more: Sequence[str], *, keep: bool) -> int:
    """Over Microsoft's emulators: those that run, or else started in containers and removed after."""
    place, started = emulators.PLACE, False
    try:
        if emulators.silent(place.settings):
            if not _docker():
                _say("Skipped: no emulators listen here, and there is no Docker to start them with.")
                return 0
            started = True
            if subprocess.run([*COMPOSE, "up", "--detach"], check=False).returncode:  # noqa: S603 - our own file
                _say("The emulators could not be started: what Docker said is above.")
                return 1
        _until(lambda: not emulators.silent(place.settings), START_S)
        _until_made(place)
        return conformance(place, more)
    finally:
        if started and not keep:
            subprocess.run([*COMPOSE, "down", "--volumes"], check=False)  # noqa: S603 - our own file


def over_live(group: str, more: Sequence[str]) -> int:
    """Over a real resource group: what the tests need is made beside what is there, and removed after."""
    try:
        with made(Az(), group) as place:
            return conformance(place, more)
    except Unready as unready:
        _say(f"Skipped: {unready}")
        return 0
    except subprocess.CalledProcessError as error:  # the Azure CLI's, which says why on its other output alone
        _say(f"{' '.join(map(str, error.cmd[:4]))} …: {(error.stderr or '').strip()[:2_000]}")
        return 1


def conformance(place: Place, more: Sequence[str]) -> int:
    """Run the suites of the place's ports over it; pytest's exit code."""
    with TemporaryDirectory() as folder:
        # Whoever az login says is to be asked, and no managed identity that happens to be named here.
        own = {name: value for name, value in os.environ.items() if name != CLIENT_ID}
        environment = own | write(place, Path(folder) / "place.json")
        suites = sorted({f"tests/conformance/test_{port}.py" for port in place.ports})
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *suites, *more]
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode  # noqa: S603 - our own tests


def _docker() -> bool:
    """Whether there is Docker, with its Compose, and it answers."""
    if shutil.which("docker") is None:
        return False
    asked = (["docker", "info"], ["docker", "compose", "version"])
    return all(not subprocess.run(one, capture_output=True, check=False).returncode for one in asked)  # noqa: S603 - what the user has


def _until_made(place: Place) -> None:
    deadline = time.monotonic() + SETTLE_S
    while True:
        try:
            asyncio.run(emulators.prepare(place.settings))
        except Exception as error:  # whatever an emulator says while it starts
            if time.monotonic() > deadline:
                raise
            _say(f"waiting for the emulators: {type(error).__name__}")
            time.sleep(5.0)
        else:
            return


def _until(holds: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing listens at {', '.join(emulators.silent(emulators.PLACE.settings))}")
        time.sleep(2.0)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A run holds its data folder and its port for itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flockiq.cli.hold import InUse, data_folder, free_port
from flockiq.shared.errors import FlockIQError

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from flockiq.cli.hold import data_folder
with data_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    """The message names the process and the way out."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], cwd=ROOT, stdout=subprocess.PIPE) as holder:  # noqa: S603
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(InUse, match=rf"process {holder.pid}\b.*--data DIR --port N"), data_folder(tmp_path):
                pass
        finally:
            holder.send_signal(signal.SIGKILL)


def test_a_killed_run_leaves_no_lock_behind(tmp_path: Path) -> None:
    """The kernel lets go of it: nobody has to remove a file by hand."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], cwd=ROOT, stdout=subprocess.PIPE) as holder:  # noqa: S603
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with data_folder(tmp_path) as folder:
        assert (folder / "run.lock").read_text() == f"{os.getpid()}\n"


def test_a_refused_run_does_not_overwrite_who_holds_the_folder(tmp_path: Path) -> None:
    """A third run is still told of the first."""
    with data_folder(tmp_path):
        for _ in range(2):
            with pytest.raises(InUse, match=f"process {os.getpid()}"), data_folder(tmp_path):
                pass


def test_a_new_data_folder_is_its_owners_alone(tmp_path: Path) -> None:
    """It will hold keys and customers' data."""
    with data_folder(tmp_path / "new" / "data") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_data_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A file in the way is no traceback."""
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(FlockIQError, match="--data DIR"), data_folder(tmp_path / "data"):
        pass


def test_a_taken_port_is_said_with_the_way_out() -> None:
    """The message names the port and the option that chooses another."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(InUse, match=rf"Port {taken} .*--port N"):
            free_port(taken)


def test_port_zero_finds_a_free_one() -> None:
    """The port found can be listened on."""
    port = free_port(0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        assert free_port(0) != port

"""``flockiq dead-letters`` as a person runs it: over the data folder, or over a running app."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvicorn

from flockiq.cli.address import announced, running
from flockiq.cli.app import KEY_SETTING
from flockiq.cli.hold import data_folder
from flockiq.cli.main import main
from flockiq.serve.app import application
from flockiq.shared.deadletters import DeadLetter, bury
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings
from tests.deadletters.world import US, change

ROOT = Path(__file__).parents[2]
LETTERS = [
    DeadLetter(
        stage="merge",
        source="web",
        stream="contacts",
        key="7\x1b[31m",
        field="staff",
        line=3,
        reason="'many' is not a whole number",
        at_us=US,
        body=change("7", {"staff": "many"}),
    ),
    DeadLetter(stage="process", source="", stream="", reason="is no zstd", at_us=US - 1, body=b"\xff\xfe"),
]


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The answer as JSON."""
        return json.loads(self.out)


async def command(*arguments: str | Path) -> Said:
    """Run ``flockiq dead-letters`` in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "flockiq",
        "dead-letters",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Said(process.returncode or 0, out.decode(), err.decode())


async def opened(data: Path) -> Services:
    """The services of a data folder with two records set aside."""
    services = connect(Settings(data=data))
    await bury(services, LETTERS)
    return services


@pytest.fixture
async def idle(tmp_path: Path) -> Path:
    """A data folder on which no app runs."""
    data = tmp_path / "data"
    await (await opened(data)).close()
    return data


@pytest.fixture
async def busy(tmp_path: Path) -> AsyncIterator[Path]:
    """A data folder on which an app runs, which holds it and says where it is."""
    data = tmp_path / "data"
    with data_folder(data), socket.create_server(("127.0.0.1", 0)) as listening:
        services = await opened(data)
        config = uvicorn.Config(application(lambda: services), log_level="warning", lifespan="off", ws="none")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listening]))
        with announced(data, f"http://127.0.0.1:{listening.getsockname()[1]}"):
            yield data
        server.should_exit = True
        await serving
        await services.close()


async def test_letters_are_listed_shown_and_replayed_while_no_app_runs(idle: Path) -> None:
    """The folder is opened, and held meanwhile."""
    await _look_and_replay(idle)


async def test_letters_are_listed_shown_and_replayed_through_the_running_app(busy: Path) -> None:
    """It is asked over HTTP, and says the same."""
    await _look_and_replay(busy)


async def _look_and_replay(data: Path) -> None:
    listed = await command("list", "--data", data)
    assert listed.code == 0, listed.err
    assert "staff: 'many' is not a whole number (line 3)" in listed.out
    assert "\x1b" not in listed.out  # what others wrote does not steer the terminal
    letter = (await command("list", "--data", data, "--json", "--stage", "merge")).json[0]
    shown = await command("show", letter["id"], "--data", data, "--json")
    assert shown.json["record"].encode() == LETTERS[0].body

    replayed = await command("replay", "--data", data, "--all", "--json")
    assert replayed.code == 1  # one of the two can't be
    assert [each["hub"] for each in replayed.json["replayed"]] == ["changes"]
    [reason] = replayed.json["refused"].values()
    assert "have it send the record again" in reason
    left = (await command("list", "--data", data, "--json")).json
    assert [each["stage"] for each in left] == ["process"]
    assert (await command("replay", letter["id"], "--data", data)).code == 0  # again: it may be


async def test_a_process_that_holds_the_folder_without_an_address_is_named(tmp_path: Path) -> None:
    """An app that is starting, or the address of one that was killed: try again, rather than ask a stranger."""
    with data_folder(tmp_path):
        (tmp_path / "app.json").write_text('{"url": "http://127.0.0.1:9", "pid": 1}')
        said = await command("list", "--data", tmp_path)
    assert (said.code, f"Process {os.getpid()} holds" in said.err) == (1, True)


def test_an_address_is_told_while_the_app_runs_only(tmp_path: Path) -> None:
    """It is of the process that holds the folder, or of nobody."""
    with announced(tmp_path, "http://127.0.0.1:7071"):
        address = running(tmp_path, str(os.getpid()))
        assert address is not None
        assert address.url == "http://127.0.0.1:7071"
        assert running(tmp_path, "1") is None
    assert running(tmp_path, str(os.getpid())) is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("list", "--data", "nowhere"), "no data folder nowhere"),
        (("list", "--url", "file:///etc/passwd"), "is no address of an app"),
        (("list", "--url", "http://example.com"), "is sent over https only"),
        (("list", "--url", "http://127.0.0.1:9"), "does FlockIQ run there?"),
        (("list", "--stage", "mrege"), "There is no stage 'mrege': records are set aside by capture, merge,"),
        (("replay",), "Say which to replay"),
        (("replay", "some-id", "--all"), "not both"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to do, and no key in the open."""
    monkeypatch.setenv(KEY_SETTING, "k-of-tests")
    assert main(["dead-letters", *arguments]) == 1
    said = capsys.readouterr()
    assert says in said.err
    assert "k-of-tests" not in said.out + said.err

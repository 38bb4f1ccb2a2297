"""The two systems, served, and connected by the YAML beside this file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from flockiq.cli.main import main
from tests.capture.conftest import World, ledger, services, world  # noqa: F401 - fixtures
from tests.capture.peers.server import serve
from tests.unseen.kontor import Kontor
from tests.unseen.tidewater import Tidewater

CONFIG = Path(__file__).parent / "config"


def source(name: str, *streams: str) -> dict[str, Any]:
    """A source as its YAML has it; only some of its streams, if any are named."""
    written: dict[str, Any] = yaml.safe_load((CONFIG / "sources" / f"{name}.yaml").read_text("utf-8"))
    kept = {stream: each for stream, each in written["streams"].items() if not streams or stream in streams}
    return written | {"streams": kept}


class Served[Peer](NamedTuple):
    """A system, and what opens a capture of it."""

    peer: Peer
    open: Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
async def kontor(
    world: Callable[..., Any],  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Served[Kontor]]:
    """Kontor with seven partners, four vouchers and five stores."""
    peer = Kontor()
    for number in range(1, 8):
        region = "Nord" if number % 2 else "Süd"
        place = {"Ort": f"Ort {number}", "Land": "IN"}
        peer.put(
            "Partner", number, Mandant="100", Nummer=f"P/{number}", Bezeichnung=f"Firma {number}", Anschrift=place,
            Kreditlimit=1000.5, Region=region,
        )  # fmt: skip
    for number in range(1, 5):
        peer.put("Belege", number, id=number, Partner=f"P/{number}", Art="Rechnung", Summe=number * 1.25)
    for number in range(1, 6):
        peer.put("Lagerorte", number, Code=f"L{number}", Bestand=number)
    monkeypatch.setenv("FLOCKIQ_SECRET_KONTOR_PASSWORD", "offenes geheimnis")
    async with serve(peer.app) as url:
        monkeypatch.setenv("KONTOR_URL", url)
        yield Served(peer, lambda *streams: world(source("kontor", *streams), environment={"KONTOR_URL": url}))


@pytest.fixture
async def tidewater(
    world: Callable[..., Any],  # noqa: F811 - the fixture
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Served[Tidewater]]:
    """Tidewater with nine clients, the ninth archived."""
    peer = Tidewater()
    for number in range(1, 10):
        peer.put(number, minute=20 - number, archived=number == 9)
    kept = tmp_path / "secrets.json"
    kept.write_text(json.dumps({"tidewater-refresh": peer.refresh_token}))
    kept.chmod(0o600)
    monkeypatch.setenv("FLOCKIQ_SECRETS_FILE", str(kept))
    async with serve(peer.app) as url:
        monkeypatch.setenv("TIDEWATER_URL", url)
        yield Served(peer, lambda *streams: world(source("tidewater", *streams), environment={"TIDEWATER_URL": url}))


@pytest.fixture
def sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """``flockiq sources VERB …`` over the YAML here: its exit code, and what it printed."""

    async def run(verb: str, *arguments: str, config: Path = CONFIG) -> tuple[int, str]:
        command = ["sources", verb, *arguments, "--config", str(config), "--data", str(tmp_path / "data")]
        code = await asyncio.to_thread(main, command)
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    return run

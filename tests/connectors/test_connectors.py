"""Every connector has a file of config, a peer, and commands that work on it."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import pytest
from starlette.applications import Starlette

from flockiq.cli.main import main
from flockiq.shared import wire
from flockiq.shared.config.sources import SourceFile
from tests.capture.peers.business_central import BusinessCentral
from tests.capture.peers.salesforce import Salesforce
from tests.capture.peers.salesforce_bulk import SalesforceBulk
from tests.capture.peers.server import serve
from tests.capture.peers.shop import Shop
from tests.capture.peers.tables import DataversePeer, GatewayPeer

HERE: Final = Path(__file__).parent
AT: Final = "2026-03-01T10:00:00Z"
NUMBERS: Final = range(1, 5)


def _dataverse() -> Starlette:
    peer = DataversePeer("accountid", page=3)
    for number in NUMBERS:
        peer.table.put({"accountid": str(number), "name": f"C{number}", "modifiedon": AT})
    return peer.app


def _gateway() -> Starlette:
    peer = GatewayPeer("Customer", page=3)
    for number in NUMBERS:
        peer.table.put({"Customer": str(number), "CustomerName": f"C{number}", "LastChange": "/Date(1772359200000)/"})
    return peer.app


def _business_central() -> Starlette:
    peer = BusinessCentral()
    for number in NUMBERS:
        peer.put(str(number), f"C{number}", AT)
    return peer.app


def _salesforce() -> Starlette:
    peer = Salesforce()
    for number in NUMBERS:
        peer.put(number, minute=number)
    return peer.app


def _salesforce_bulk() -> Starlette:
    peer = SalesforceBulk()
    for number in NUMBERS:
        peer.put(number, minute=number)
    return peer.app


def _shop() -> Starlette:
    peer = Shop()
    for number in NUMBERS:
        peer.put(number, name=f"C{number}")
    return peer.app


READ: Final[Mapping[str, Callable[[], Starlette] | None]] = {
    "dataverse": _dataverse,
    "odata_v2": _gateway,
    "odata_v4": _business_central,
    "salesforce": _salesforce,
    "salesforce_bulk": _salesforce_bulk,
    "rest": _shop,
    "files": None,  # files have no peer but themselves
}
TOLD: Final = {"webhook"}  # nothing to read before it is told: tests/capture/test_webhook.py posts to it
CONNECTORS: Final = set(get_args(SourceFile.model_fields["connector"].annotation))


@asynccontextmanager
async def _served(connector: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    make = READ[connector]
    if make is None:
        folder = data / "blobs" / "inbox" / "records"
        folder.mkdir(parents=True)
        rows = [f"{number},C{number},{AT}" for number in NUMBERS]
        (folder / "records-1.csv").write_text("\n".join(["id,name,at", *rows]))
        yield
        return
    async with serve(make()) as url:
        monkeypatch.setenv("PEER_URL", url)
        yield


async def _run(data: Path, verb: str, *arguments: str) -> int:
    command = ["sources", verb, *arguments, "--config", str(HERE / "config"), "--data", str(data)]
    return await asyncio.to_thread(main, command)


@pytest.mark.parametrize("connector", READ)
async def test_check_discover_and_read_work_against_its_peer(
    connector: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its records are shown as the change events they would become, over more than one page, and none is published."""
    monkeypatch.setenv("FLOCKIQ_SECRET_PEER", "correct horse")
    async with _served(connector, tmp_path, monkeypatch):
        assert await _run(tmp_path, "check", connector) == 0
        assert "4 of 4 records read" in capsys.readouterr().out
        assert await _run(tmp_path, "discover", connector) == 0
        assert "# records: key " in capsys.readouterr().out
        assert await _run(tmp_path, "read", connector, "records", "--limit", "4") == 0
    shown = [msgspec.json.decode(line, type=wire.Change) for line in capsys.readouterr().out.splitlines()]
    afters: list[dict[str, Any]] = [msgspec.json.decode(change.data.after) for change in shown]
    assert [name for after in afters for name in after.values() if re.fullmatch(r"C\d", str(name))] == [
        "C1", "C2", "C3", "C4",
    ]  # fmt: skip
    assert {change.time[:13] for change in shown} == {"2026-03-01T10"}
    assert not (tmp_path / "events.db").exists()


@pytest.mark.parametrize("connector", ["salesforce", "salesforce_bulk"])
async def test_discover_lists_the_columns_that_a_source_describes(
    connector: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are not asked for yet, too; what no field can hold is shown as the source calls it."""
    monkeypatch.setenv("FLOCKIQ_SECRET_PEER", "correct horse")
    async with _served(connector, tmp_path, monkeypatch):
        assert await _run(tmp_path, "discover", connector) == 0
    said = capsys.readouterr().out
    assert "# records: key Id; 6 columns" in said
    assert "#   AnnualRevenue: decimal" in said
    assert "#   BillingAddress: address" in said


@pytest.mark.parametrize("path", ["Acount", "Account/../Account"])
async def test_an_object_that_is_not_there_is_told_as_the_source_tells_it(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path is one step of the address, whatever it holds."""
    monkeypatch.setenv("FLOCKIQ_SECRET_PEER", "correct horse")
    config = shutil.copytree(HERE / "config", tmp_path / "config")
    file = config / "sources" / "salesforce.yaml"
    file.write_text(file.read_text().replace("path: Account", f"path: {path}"))
    async with _served("salesforce", tmp_path, monkeypatch):
        command = ["sources", "discover", "salesforce", "--config", str(config), "--data", str(tmp_path)]
        assert await asyncio.to_thread(main, command) == 1
    assert f"the source answers 404 to what {path} holds" in capsys.readouterr().err


async def test_what_is_told_by_a_webhook_can_be_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says that there is nothing to read before it is told."""
    monkeypatch.setenv("FLOCKIQ_SECRET_PEER", "correct horse")
    assert await _run(tmp_path, "check", "webhook") == 0
    assert await _run(tmp_path, "read", "webhook", "records") == 1
    assert "told by a webhook" in capsys.readouterr().err


def test_every_connector_is_tried() -> None:
    """Each that config may name has a file here and a row in docs/connectors.md."""
    files = {path.stem for path in (HERE / "config" / "sources").glob("*.yaml")}
    documented = set(re.findall(r"^\| `(\w+)` \|", Path("docs/connectors.md").read_text("utf-8"), re.MULTILINE))
    assert files == set(READ) | TOLD == CONNECTORS
    assert documented >= CONNECTORS

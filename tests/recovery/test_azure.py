"""An export of Azure's stores, and its import: the functions' host begins where the state says, not where it was."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from flockiq.cli.checkpoints import CONTAINER
from flockiq.cli.main import main
from flockiq.local import outcome
from flockiq.local.outcome import Outcome
from flockiq.shared.services import connect
from flockiq.shared.settings import read
from tests.erasure.world import TENANT, People, fill, write_config
from tests.peers.peers import Peers
from tests.peers.storage.azurite import Missing

PORTS = ("state", "alerts", "registry", "analytics", "blobs")
NAMESPACE = "evhns-FlockIQ.servicebus.windows.net"
OURS = [f"{NAMESPACE.lower()}/{hub}/$default/checkpoint/{one}" for hub in ("changes", "resolved") for one in "03"]
OTHERS = [
    f"{NAMESPACE.lower()}/changes/$default/ownership/0",
    f"{NAMESPACE.lower()}/work/$default/checkpoint/0",
    "another.servicebus.windows.net/changes/$default/checkpoint/0",
]


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ContainerClient]:
    """Azure's stores, hubs in a folder, and the container in which Azure's host has kept its checkpoints."""
    with Peers((TENANT,)) as peers:
        try:
            given = dict(peers.environment(PORTS))
        except Missing as missing:
            if os.environ.get("CI") == "true":
                pytest.fail(str(missing), pytrace=False)
            pytest.skip(str(missing))
        given |= {f"FLOCKIQ_ADAPTERS_{port.upper()}": "azure" for port in PORTS}
        given |= {"FLOCKIQ_DATA": str(tmp_path / "data"), "EventHub__fullyQualifiedNamespace": NAMESPACE}
        given["AzureWebJobsStorage"] = given["Storage"]
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        with BlobServiceClient.from_connection_string(given["Storage"]) as client:
            container: ContainerClient = client.get_container_client(CONTAINER)
            container.create_container()
            for name in (*OURS, *OTHERS):
                container.upload_blob(name, b"", metadata={"sequencenumber": "7"})
            yield container
            container.delete_container()


async def filled(tmp_path: Path) -> Outcome:
    """What a small world of people over them ends with."""
    people = People(connect(read(os.environ), os.environ), write_config(tmp_path / "config"))
    await fill(people)
    try:
        return await outcome.read(people.services)
    finally:
        await people.services.close()


async def found(tmp_path: Path) -> Outcome:
    """What it ends with now."""
    people = People(connect(read(os.environ), os.environ), tmp_path / "config")
    try:
        await people.work()
        return await outcome.read(people.services)
    finally:
        await people.services.close()


def run(tmp_path: Path, *arguments: str) -> int:
    """A command over the stores that the settings name."""
    return main([*arguments, "--data", str(tmp_path / "data"), "--config", str(tmp_path / "config")])


def test_an_import_removes_the_checkpoints_of_what_is_folded_and_of_nothing_else(
    storage: ContainerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If it can't, nothing is brought in: triggers that begin later than the state would lose what lies between."""
    right = asyncio.run(filled(tmp_path))
    file = tmp_path / "state.zip"
    assert run(tmp_path, "state", "export", str(file)) == 0
    with monkeypatch.context() as away:
        nobody = "BlobEndpoint=http://127.0.0.1:9/devstoreaccount1;AccountName=devstoreaccount1;AccountKey=aGk="
        away.setenv("AzureWebJobsStorage", nobody)
        away.setattr("flockiq.cli.checkpoints.PATIENCE", 0)
        assert run(tmp_path, "state", "import", str(file), "--force") == 1
    assert "can't be removed: it did not answer" in capsys.readouterr().err
    assert set(storage.list_blob_names()) == {*OURS, *OTHERS}
    assert run(tmp_path, "state", "import", str(file)) == 0
    assert set(storage.list_blob_names()) == set(OTHERS)
    assert asyncio.run(found(tmp_path)) == right
    assert right.open_alerts

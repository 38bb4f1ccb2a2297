"""What runs the suites over emulators and real resources, tried over the peers and over a double of Azure's CLI."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from flockiq.shared.ports import OutgoingEvent, StateVersion
from flockiq.shared.services import connect
from flockiq.shared.settings import HUBS, READ_GROUP, Settings
from tests.azure.cosmos.told import step
from tests.endpoints import emulators, main
from tests.endpoints.emulators import MAX_GROUPS, MAX_HUBS, MAX_PARTITIONS, PLACE
from tests.endpoints.family import Inline
from tests.endpoints.live import ARM, TYPES, Az, Unready, made
from tests.endpoints.place import Place
from tests.peers.peers import Peers
from tests.peers.storage.azurite import Missing

COMPOSE = yaml.safe_load((emulators.FOLDER / "compose.yaml").read_text())["services"]
NPM = Path(__file__).parents[1] / "peers" / "storage" / "emulator" / "package.json"


def test_every_emulator_listens_on_this_machine_only() -> None:
    """At the ports that the tests ask; no image is unversioned but the one whose versions Microsoft does not name."""
    published = [port for service in COMPOSE.values() for port in service["ports"]]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published)
    listening = {port.split(":")[1] for port in published}
    asked = {str(port) for _, _, port in emulators._endpoints(PLACE.settings)}
    assert asked <= listening
    assert len(asked) == 4
    tags = {name: service["image"].rpartition(":")[2] for name, service in COMPOSE.items()}
    assert {name for name, tag in tags.items() if not re.fullmatch(r"\d+\.\d+\.\d+|vnext-EN\d{8}", tag)} == {"kusto"}
    assert tags["azurite"] == json.loads(NPM.read_text())["dependencies"]["azurite"]


def test_the_event_hubs_emulator_has_the_hubs_of_the_settings() -> None:
    """Within its limits; the file is as the command writes it."""
    written = json.loads((emulators.FOLDER / "event-hubs.json").read_text())
    assert written == emulators.hubs(), "python -m tests.endpoints.emulators"
    (namespace,) = written["UserConfig"]["NamespaceConfig"]
    hubs = {each["Name"]: each for each in namespace["Entities"]}
    assert {name: int(hub["PartitionCount"]) for name, hub in hubs.items()} == dict(HUBS)
    assert len(hubs) <= MAX_HUBS
    for hub in hubs.values():
        assert int(hub["PartitionCount"]) <= MAX_PARTITIONS
        assert [group["Name"] for group in hub["ConsumerGroups"]] == [READ_GROUP]
        assert len(hub["ConsumerGroups"]) <= MAX_GROUPS
    (volume,) = COMPOSE["event-hubs"]["volumes"]
    assert volume.split(":")[0] == "./event-hubs.json"


def test_without_emulators_and_docker_it_says_so_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And is no failure."""
    monkeypatch.setattr(emulators, "PLACE", Place(ports=["events"], settings={"Kusto__queryUri": "http://127.0.0.1:1"}))
    monkeypatch.setenv("PATH", "")
    assert main.main(["emulators"]) == 0
    assert capsys.readouterr().out == (
        "Skipped: no emulators listen here, and there is no Docker to start them with.\n"
    )


@pytest.mark.parametrize(
    ("fails", "wanted", "code"),
    [
        ("compose version", ["info", "compose version"], 0),
        ("up --detach", ["info", "compose version", "up --detach", "down --volumes"], 1),
    ],
)
def test_what_docker_can_not_do_is_said_and_nothing_is_left(
    fails: str, wanted: list[str], code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without Compose there is nothing to start with; a start that fails half way is taken back."""
    asked = tmp_path / "asked"
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$*" >> {asked}\ncase "$*" in *"{fails}"*) exit 1;; esac\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(emulators, "PLACE", Place(ports=["events"], settings={"Kusto__queryUri": "http://127.0.0.1:1"}))
    assert main.main(["emulators"]) == code
    said = [" ".join(line.split()[-2:]) for line in asked.read_text().splitlines()]
    assert said == wanted


def test_what_the_azure_cli_refuses_is_told_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And is a failure: something was to be tried."""
    monkeypatch.setattr(main, "Az", lambda: Group(fails="/containers/leases"))
    assert main.main(["live", "--group", "rg"]) == 1
    assert "as planned" in capsys.readouterr().out


ONE_OF_EACH = (
    "events_survive or alerts_survive or leases_survive or listed_by_prefix or paths_are_listed or answered_after"
)


async def test_the_suites_run_over_endpoints_that_others_have_used(tmp_path: Path) -> None:
    """A test sees nothing of what was there before it, and the suites of all ports are run."""
    with Peers() as peers:
        try:
            settings = peers.environment(emulators.PLACE.ports)
        except Missing as missing:
            pytest.skip(str(missing))
        assert emulators.silent(settings) == []
        await emulators.prepare(settings)
        await emulators.prepare(settings)  # what is there is left as it is
        services = connect(Settings(adapters="azure"), settings)
        await services.events.publish("changes", [OutgoingEvent(0, b"another's")] * 3)
        await services.state.append("log", b"another's", StateVersion(0, 0))
        await services.blobs.put("a", b"another's")
        await services.alerts.apply("t", [step("another", 1, "fire")])
        await services.registry.put("a", b"another's", None)
        await services.registry.acquire("lease", "another", 3_600.0)
        await services.close()
        cluster = Inline(settings, lambda: pytest.fail("an emulator takes no token"))
        await cluster.stream("Deltas", b'{"DeltaId": "another\'s"}')
        await cluster.close()
        assert peers.eventhouse.rows("Deltas | count") == [[1]]
        log = tmp_path / "log.xml"
        place = Place(ports=emulators.PLACE.ports, settings=settings, inline=True)
        done = await asyncio.to_thread(main.conformance, place, ["-k", ONE_OF_EACH, f"--junitxml={log}"])
        assert done == 0
        assert set(re.findall(r"tests\.conformance\.test_(\w+)\"", log.read_text())) == set(place.ports)


class Group(Az):
    """A resource group as infra/ makes it, of which everything made and removed is noted."""

    def __init__(self, *, lacks: str = "", fails: str = "\0") -> None:
        self.there: dict[str, Mapping[str, Any]] = {}
        self.removed: list[str] = []
        self.secrets = ["sample-crm-token"]
        self._fails = fails
        self._kinds = {port: kind for port, (kind, _, _) in TYPES.items() if port != lacks}
        self._properties = {
            "serviceBusEndpoint": "https://ns.servicebus.windows.net:443/",
            "documentEndpoint": "https://c.documents.azure.com:443/",
            "capabilities": [{"name": "EnableServerless"}],
            "primaryEndpoints": {"blob": "https://stdata.blob.core.windows.net/"},
            "vaultUri": "https://v.vault.azure.net/",
            "uri": "https://k.westeurope.kusto.windows.net",
            "dataIngestionUri": "https://ingest-k.westeurope.kusto.windows.net",
        }

    def json(self, *arguments: str) -> Any:
        """What the CLI would print."""
        match arguments:
            case ["account", "show"]:
                return {"id": "s", "tenantId": "t"}
            case ["ad", "signed-in-user", "show"]:
                return {"id": "me"}
            case ["resource", "list", "--resource-group", "rg"]:
                named = {"state": "stdata1"}
                listed = [
                    {"id": f"/{port}", "type": kind, "name": named.get(port, port)}
                    for port, kind in self._kinds.items()
                ]
                return [*listed, {"id": "/host", "type": TYPES["state"][0], "name": "sthost1"}]
            case ["keyvault", "secret", "list", "--vault-name", _]:
                return [{"name": name} for name in self.secrets]
            case ["keyvault", "secret", "delete", "--vault-name", _, "--name", name]:
                self.secrets.remove(name)
                return {}
            case ["rest", "--method", method, "--url", url, *body]:
                return self._arm(method, url.removeprefix(ARM).partition("?")[0], body)
        raise AssertionError(arguments)

    def _arm(self, method: str, path: str, body: list[str]) -> Any:
        if self._fails in path:
            raise subprocess.CalledProcessError(1, "az", stderr="as planned")
        if method == "put":
            self.there[path] = json.loads(body[1])
        elif method == "delete":
            self.removed.append(path)
        elif path.removeprefix("/") in self._kinds:
            return {"name": path[1:], "location": "westeurope", "properties": self._properties}
        return {"properties": {}}


def test_what_live_tests_need_is_made_and_removed() -> None:
    """Hubs, containers, databases, under a name of the run; the place names them. It ends well for others' as well."""
    az = Group()
    with pytest.raises(ZeroDivisionError), made(az, "rg") as place:  # noqa: PT012 - a run that fails has a middle
        az.secrets.append(f"{place.prefix}erp-password")
        assert set(place.ports) == {"events", "state", "blobs", "alerts", "registry", "secrets", "analytics"}
        assert place.settings["EventHub__fullyQualifiedNamespace"] == "ns.servicebus.windows.net"
        assert f"/state/blobServices/default/containers/{place.settings['Storage__containers']}-state" in az.there
        assert f"/alerts/sqlDatabases/{place.settings['CosmosDB__database']}/containers/leases" in az.there
        assert f"/analytics/databases/{place.settings['Kusto__database']}/scripts/mappings" in az.there
        assert az.there[f"/events/eventhubs/{place.prefix}changes"]["properties"]["partitionCount"] == 4
        assert not any("SharedAccessKey" in value or "AccountKey" in value for value in place.settings.values())
        raise ZeroDivisionError
    tops = {path for path in az.there if path.rpartition("/")[2].startswith(place.prefix)}
    assert set(az.removed) == tops
    assert all(any(path.startswith(top) for top in tops) for path in az.there)
    assert az.secrets == ["sample-crm-token"]


def test_two_runs_have_nothing_in_common() -> None:
    """They may be at work at the same time."""
    one, other = Group(), Group()
    with made(one, "rg") as first, made(other, "rg") as second:
        assert first.prefix != second.prefix
    assert not set(one.there) & set(other.there)


def test_what_was_begun_is_removed_when_something_can_not_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    """And what can't be removed is named, and keeps nothing else from being removed."""
    az = Group(fails="containers/leases")
    with pytest.raises(subprocess.CalledProcessError), made(az, "rg"):
        pytest.fail("it was not made")
    assert sorted(path.split("/")[1] for path in az.removed) == ["alerts", "events", "events"]
    az = Group(fails="-files")
    with pytest.raises(subprocess.CalledProcessError), made(az, "rg"):
        pytest.fail("it was not made")
    assert [path.rpartition("-")[2] for path in az.removed] == ["changes"]
    assert "files was not removed (as planned): remove it by hand" in capsys.readouterr().err


def test_a_group_that_is_not_ours_is_left_alone() -> None:
    """It lacks what infra/ makes; Data Explorer alone may be missing, where Fabric has the history."""
    az = Group(lacks="events")
    with pytest.raises(Unready, match=r"0 of Microsoft\.EventHub/namespaces"), made(az, "rg"):
        pytest.fail("it was taken")
    assert az.there == {}
    with made(Group(lacks="analytics"), "rg") as place:
        assert "analytics" not in place.ports

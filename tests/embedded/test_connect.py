"""The seven adapters over one data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from flockiq.shared.errors import ConfigError
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.services import connect
from flockiq.shared.settings import Settings, read


def files(folder: Path) -> list[str]:
    """The paths of every file below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_connecting_opens_nothing_before_its_first_use(tmp_path: Path) -> None:
    """So that a command which needs one port does not hold the others' files."""
    services = connect(Settings(data=tmp_path / "data"))
    assert not (tmp_path / "data").exists()
    await services.events.publish("changes", [OutgoingEvent(partition=0, body=b"x")])
    assert {path.name.split("-")[0] for path in (tmp_path / "data").iterdir()} == {"events.db"}
    await services.close()


async def test_closing_leaves_one_file_a_store(tmp_path: Path) -> None:
    """Every write-ahead log has been taken in, so that a data folder can be copied."""
    services = connect(Settings(data=tmp_path))
    await services.events.publish("changes", [OutgoingEvent(partition=0, body=b"x")])
    await services.state.append("log", b"x", (await services.state.read("log")).version)
    await services.alerts.counts("t")
    await services.registry.put("k", b"x", None)
    await services.analytics.ingest("Runs", b'{"RunId": "r"}')
    await services.blobs.put("a/b", b"x")
    await services.close()
    assert files(tmp_path) == [
        "alerts.db",
        "analytics.duckdb",
        "blobs/a/b",
        "events.db",
        "registry.db",
        "state/logs.db",
    ]


def test_adapters_that_do_not_exist_are_refused() -> None:
    """The error names the setting and what is allowed."""
    with pytest.raises(ConfigError, match=r"FLOCKIQ_ADAPTERS.*'embeded'.*embedded"):
        connect(Settings(adapters="embeded"))


def test_one_port_may_have_adapters_of_its_own() -> None:
    """Its setting is named when it is wrong; the others keep theirs."""
    settings = read({"FLOCKIQ_ADAPTERS_EVENTS": "azur", "FLOCKIQ_ADAPTERS": "embedded"})
    with pytest.raises(ConfigError, match=r"FLOCKIQ_ADAPTERS_EVENTS.*'azur'.*embedded or azure"):
        connect(settings)
    assert read({}).adapters_of == {}


async def test_hubs_in_azure_stand_beside_what_is_embedded(tmp_path: Path) -> None:
    """Nothing is reached before its first use, and all is closed."""
    services = connect(read({"FLOCKIQ_ADAPTERS_EVENTS": "azure", "FLOCKIQ_DATA": str(tmp_path)}))
    assert (type(services.events).__name__, type(services.blobs).__name__) == ("HubEvents", "FolderBlobs")
    assert len(services.families) == 2
    await services.close()

"""A source that is disabled is not read any more, and what it brought stays as it was."""

from __future__ import annotations

from pathlib import Path

from flockiq.shared.config.load import load
from flockiq.shared.services import connect
from flockiq.shared.settings import Settings
from tests.erasure.world import People, now_us, write_config

EVE = "eve@example.org"


def opened(tmp_path: Path) -> People:
    """The world over its folder, with the config of now."""
    return People(connect(Settings(data=tmp_path / "data")), tmp_path / "config")


async def test_what_it_brought_stays_and_what_was_on_its_way_is_merged(tmp_path: Path) -> None:
    """Golden records keep its values when another source speaks; nothing of it is a dead letter."""
    file = write_config(tmp_path / "config") / "sources" / "shop.yaml"
    world, at = opened(tmp_path), now_us() - 5_000_000
    await world.tell("crm", "e1", at, mail=EVE, name="Eve", city="Lyon", spent=10)
    await world.tell("shop", "e1", at + 1000, mail=EVE, name="Eve", city="Paris", spent=20)
    await world.work()
    await world.tell("shop", "e1", at + 2000, mail=EVE, name="Eve", city="Nice", spent=30)
    await world.services.close()

    file.write_text(file.read_text().replace("connector:", "enabled: false\nconnector:"))
    assert set(load(tmp_path / "config", {}).sources) == {"crm"}
    world = opened(tmp_path)
    await world.work()
    assert (await world.golden())[EVE]["city"] == "Nice"
    await world.tell("crm", "e1", at + 500, mail=EVE, name="Eve", city="Lille", spent=11)
    await world.work()
    assert (await world.golden())[EVE]["city"] == "Nice"
    assert not await world.services.blobs.list("dead-letters/")
    await world.services.close()

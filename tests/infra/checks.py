"""Everything that infra/ must be, as complaints: [] when all is well.

``read`` gives the text of a file, so that tests can plant faults and see them found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.infra.agreement import hubs, roles, runs, secrets, settings, stores
from tests.infra.bicep.evaluate import BicepError, Deployment, Read, deploy, unused
from tests.infra.bicep.syntax import errors
from tests.infra.safety import locked, private, spread, tagged, watched
from tests.infra.zone import Zone
from tests.infra.zones import EVERYTHING, INFRA, MAIN, values, zones

KEYS = re.compile(
    r"listKeys|listSecrets|listAccountSas|listConnectionStrings|AccountKey=|SharedAccessKey|sas\w*Token", re.IGNORECASE
)


CHECKS: tuple[Callable[[Zone], Iterator[str]], ...] = (
    hubs,
    stores,
    settings,
    secrets,
    roles,
    runs,
    locked,
    private,
    watched,
    spread,
    tagged,
)


def complaints(read: Read = Path.read_text, *, more: Callable[[Deployment], list[str]] = lambda _: []) -> list[str]:
    """All that is wrong; what is no Bicep, or can't be worked out, hides the rest.

    ``more`` looks at what each zone deploys as well.
    """
    files = sorted(INFRA.rglob("*.bicep"))
    if found := [fault for path in files for fault in errors(path, read(path))]:
        return found
    found += [fault for path in files for fault in unused(path, read(path))]
    found += [f"{path.name}: asks for a key: {key[0]}" for path in files for key in KEYS.finditer(read(path))]
    try:
        every = [_zone(name, values(read(path)), read) for name, path in zones().items()]
        every.append(_zone("everything", EVERYTHING, read))
    except BicepError as error:
        return [*found, str(error)]
    for zone in every:
        wrong = [*more(zone.deployed), *(fault for check in CHECKS for fault in check(zone))]
        found += [f"zone {zone.name}: {fault}" for fault in wrong]
    return found


def _zone(name: str, given: Mapping[str, Any], read: Read) -> Zone:
    return Zone(name, given, deploy(MAIN, given, read))

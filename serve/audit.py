"""Who changed what: a line in the log and a row of table Audit for every request that changes something."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Final

import msgspec

from flockiq.serve.access import Caller
from flockiq.shared.errors import FlockIQError
from flockiq.shared.positions import hash_id
from flockiq.shared.services import Services

log = logging.getLogger("flockiq.audit")
_PATH_CHARACTERS: Final = 500


class AuditRow(msgspec.Struct, frozen=True, rename="pascal"):
    """One request that was to change something, and what became of it."""

    id: str
    tenant: str
    at: dt.datetime
    caller: str
    role: str
    method: str
    path: str
    status: int


async def note(services: Services, who: Caller, method: str, path: str, status: int) -> None:
    """Tell what was asked and answered. It never fails the request, which is done already: the log has it first."""
    tenant = services.settings.tenant
    at = dt.datetime.now(dt.UTC)
    path = path[:_PATH_CHARACTERS]
    name = hash_id(tenant, at.isoformat(), who.name, method, path)
    row = AuditRow(name, tenant, at, who.name, who.role, method, path, status)
    log.info("%s (%s) %s %s: %d", who.name, who.role, method, path, status)
    try:
        await services.analytics.ingest("Audit", msgspec.json.encode(row))
    except FlockIQError as error:
        log.warning("the row of this change could not be kept: %s", error)

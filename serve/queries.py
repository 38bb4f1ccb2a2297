"""The questions the page and the API ask of the Eventhouse: KQL files, read once, asked by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from flockiq.shared.services import Services

FOLDER = Path(__file__).resolve().parent.parent / "eventhouse" / "queries"

Row = Mapping[str, object]


@cache
def kql(name: str) -> str:
    """The text of ``eventhouse/queries/<name>.kql``."""
    return (FOLDER / f"{name}.kql").read_text(encoding="utf-8")


async def ask(services: Services, name: str, **parameters: str | int) -> list[Row]:
    """The rows that query ``name`` gives for this tenant, as {column: value}."""
    table = await services.analytics.query(kql(name), {"tenant": services.settings.tenant, **parameters})
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]

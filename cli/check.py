"""``python -m flockiq check``: is the config right? Says everything that is not, before anything runs."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from flockiq.shared.config.load import load
from flockiq.shared.config.model import Config, Rule
from flockiq.shared.errors import ConfigError, Problem, QueryError, Undeclared
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings
from flockiq.signal.periodic import rows_holding

SET_BY_RUN = ("FLOCKIQ_SAMPLE_CRM_URL", "FLOCKIQ_SAMPLE_ERP_URL")
"""Where the sample systems are; their own module is not loaded for two names."""


def check(folder: Path) -> int:
    """Print what is wrong with the config in ``folder``, a problem a line; 1 if anything is, else 0."""
    try:
        config = _checked(folder)
    except ConfigError as error:
        for problem in error.problems:
            sys.stdout.write(f"{problem}\n")
        count = len(error.problems)
        sys.stdout.write(f"{count} {'problem' if count == 1 else 'problems'} in {folder}\n")
        return 1
    counts = ", ".join(
        _count(len(things), one, many)
        for things, one, many in (
            (config.sources, "source", "sources"),
            (config.entities, "entity type", "entity types"),
            (config.rules, "rule", "rules"),
        )
    )
    sys.stdout.write(f"config is valid: {counts}\n")
    for settings, who in (
        ([name for name in config.unset if name not in SET_BY_RUN], "settings to set before it runs"),
        ([name for name in config.unset if name in SET_BY_RUN], "settings that run sets, unless it is --no-samples"),
    ):
        if settings:
            sys.stdout.write(f"{who}: {', '.join(settings)}\n")
    return 0


def _checked(folder: Path) -> Config:
    """The config, and its queries tried. ConfigError if anything is wrong."""
    config = load(folder, os.environ)
    queries = [rule for rule in config.rules.values() if rule.kind == "query"]
    if queries and (problems := asyncio.run(_refused(queries))):
        raise ConfigError(problems)
    return config


async def _refused(rules: Sequence[Rule]) -> list[Problem]:
    """What is wrong with the queries of rules: each is run over tables that hold nothing."""
    problems: list[Problem] = []
    with TemporaryDirectory() as folder:
        services = connect(Settings(data=Path(folder)))
        for rule in rules:
            found = await _wrong(services, rule, rule.query)
            problems += [Problem(rule.query_file, 0, f"rule {rule.name}", wrong, "") for wrong in found]
        await services.close()
    return problems


async def _wrong(services: Services, rule: Rule, query: str) -> list[str]:
    """What is wrong with one query; of one that lacks its first line, with the rest too."""
    try:
        table = await services.analytics.query(query, {"tenant": services.settings.tenant})
        rows_holding(rule, table.columns, [], 0)
    except Undeclared as error:
        return [str(error), *await _wrong(services, rule, f"{error.line}\n{query}")]
    except QueryError as error:
        return [str(error)]
    return []


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"

"""A small, valid config to break in one place at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flockiq.shared.config.load import Config, load
from flockiq.shared.errors import ConfigError, Problem

SOURCE = """\
source: erp
connector: odata_v2
connection: {base_url: "{ERP_URL}/sap"}
streams:
  customers:
    path: CustomerSet
    primary_key: [Customer]
    entity: company
    fields:
      name: CustomerName
      tax_id: TaxNumber
      limit: CreditLimit
      region: Region
"""
ENTITY = """\
entity: company
match_key: digits(tax_id)
partition_by: region
fields:
  name: {type: string}
  tax_id: {type: string}
  region: {type: string}
  limit: {type: decimal, scale: 2}
  since: {type: date}
survivorship:
  default: [rank, recent]
  ranks: {default: [erp]}
drift:
  limit: {relative: 0.01}
  name: {ignore: [case]}
anomalies:
  limit: {by: region}
"""
RULE = """\
entity: company
labels: {team: credit}
rules:
  halved:
    severity: critical
    change: limit
    when: new <= old * 0.5
    title: "{name}: {old} to {new}"
  quiet:
    absence: {source: erp, stream: customers}
    for: 10m
    title: "Nothing from {source}/{stream} for {silent}"
  many:
    query: many.kql
    key: name
    title: "{name}"
"""


class Written:
    """A config folder; ``change`` replaces text in one of its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("sources/erp.yaml", SOURCE)
        self.write("entities/company.yaml", ENTITY)
        self.write("rules/company.yaml", RULE)
        self.write("rules/many.kql", "Entities | count")

    def write(self, name: str, text: str) -> None:
        """Write one file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def change(self, name: str, old: str, new: str) -> None:
        """Replace the one place where ``old`` stands."""
        text = (self.folder / name).read_text("utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        self.write(name, text.replace(old, new))

    def load(self, **environment: str) -> Config:
        """Load it."""
        return load(self.folder, environment)

    def problems(self) -> list[Problem]:
        """What is wrong with it."""
        with pytest.raises(ConfigError) as refused:
            self.load()
        return refused.value.problems


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A valid config, written down."""
    return Written(tmp_path / "config")


Change = Callable[[Written], None]

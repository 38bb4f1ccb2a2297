"""The sample credit bureau: every few seconds a CSV export of ratings, dropped into a folder.

It lives in the marketing system's process and store. An export is remembered before it is
written, and written under another name before it gets its own: it is whole or not there.
"""

from __future__ import annotations

import asyncio
import csv
import io
import time
from datetime import UTC, datetime
from pathlib import Path

from flockiq.local.samples.life import Life
from flockiq.local.samples.truth import folder
from flockiq.local.samples.universe import COMPANIES, company, rng

INBOX = Path("blobs", "inbox", "bureau")
EVERY_S = 5.0
ROWS = (20, 50)
WORST_SCORE = 89  # a rule watches for 95 and over
KEPT_S = 6 * 3_600
"""Exports older than this are cleared away, as a bureau does with what should have been fetched."""

COLUMNS = ("tax_id", "score", "rated_at", "agency")


class Bureau:
    """Exports ratings once people edit in the other systems."""

    def __init__(self, life: Life) -> None:
        self.life, self.store = life, life.store
        self.inbox = life.options.data / INBOX

    async def run(self) -> None:
        """Export until the system stops."""
        self.inbox.mkdir(parents=True, exist_ok=True)
        self._write()
        due = time.monotonic()
        while not self.life.stopping.is_set():
            await asyncio.sleep(0.2)
            if time.monotonic() >= due and self.life.begun:
                due = time.monotonic() + EVERY_S
                self.export()
                self._clear()

    def export(self) -> None:
        """Rate some companies and drop the export."""
        with self.store.transaction():
            number = int(self.store.fact("exports", default=0)) + 1
            self.store.remember("exports", number)
            draw = rng(self.life.options.seed, "bureau", number)
            rows = []
            for index in draw.sample(range(COMPANIES), draw.randint(*ROWS)):
                of = company(self.life.options.seed, index)
                usual = rng(self.life.options.seed, "score", index).randrange(5, 80)
                score = str(max(1, min(WORST_SCORE, usual + draw.randint(-4, 4))))
                moment = datetime.fromtimestamp(self.store.now_us() / 1e6, UTC).isoformat(timespec="milliseconds")
                row = {"tax_id": of.tax, "score": score, "rated_at": moment.replace("+00:00", "Z"), "agency": "CB-1"}
                self.store.put("ratings", of.tax, {name: row[name] for name in COLUMNS})
                rows.append(row)
            name = f"ratings-{datetime.now(UTC):%Y%m%dT%H%M%S}-{number:06d}.csv"
            self.store.remember(f"export/{name}", rows)
        self._write()

    def _write(self) -> None:
        for fact, rows in self.store.facts("export/").items():
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
            name = fact.removeprefix("export/")
            part = folder(self.life.options.data) / f"{name}.part"
            part.write_text(text.getvalue(), encoding="utf-8", newline="")
            part.replace(self.inbox / name)
            self.store.forget(fact)

    def _clear(self) -> None:
        for path in self.inbox.glob("ratings-*.csv"):
            if path.stat().st_mtime < time.time() - KEPT_S:
                path.unlink(missing_ok=True)

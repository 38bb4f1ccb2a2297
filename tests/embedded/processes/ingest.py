"""Ingests numbered rows into the analytics for ever, saying each one that is acknowledged."""

from __future__ import annotations

import asyncio
import sys

from flockiq.shared.services import connect
from flockiq.shared.settings import read


async def main() -> None:
    """Go on from how many there are."""
    analytics = connect(read()).analytics
    number = (await analytics.query("Runs | summarize coalesce(max(Run), 0)")).rows[0][0]
    if not isinstance(number, int):
        raise TypeError(number)
    while True:
        number += 1
        await analytics.ingest("Runs", b'{"RunId": "r", "Run": %d, "Error": "%s"}' % (number, b"x" * 5_000))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())

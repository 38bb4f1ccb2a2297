"""Appends numbered entries to the state log ``crash`` for ever, saying each one that is acknowledged.

It rolls the log every 40 entries into a snapshot that says how many there have been.
"""

from __future__ import annotations

import asyncio
import sys

from flockiq.shared.services import connect
from flockiq.shared.settings import read

ROLL_EVERY = 40


def entry(number: int) -> bytes:
    """What the entry of a number holds; up to 200 kB, so that a kill may well fall into a write."""
    return number.to_bytes(8) * (1 + (number * 997) % 25_000)


async def main() -> None:
    """Go on from what the log holds."""
    state = connect(read()).state
    version, snapshot, entries = await state.read("crash")
    number = int(snapshot or b"0") + len(entries)
    while True:
        version = await state.append("crash", entry(number), version)
        number += 1
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        if number % ROLL_EVERY == 0:
            version = await state.roll("crash", str(number).encode(), version)


if __name__ == "__main__":
    asyncio.run(main())

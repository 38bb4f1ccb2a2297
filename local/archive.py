"""A sample system with a long past: as many records as asked for, years of them, and some edited all the while.

JSON over HTTP, asked by the time records changed, a page at a time; a query for more than ``CAP``
records is refused, as many systems refuse it. It is served on 127.0.0.1 by the process that made it.
"""

from __future__ import annotations

import asyncio
import bisect
import datetime as dt
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

FROM: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
YEARS: Final = dt.timedelta(days=5 * 365)
CITIES: Final = ("Hamburg", "Lyon", "Porto", "Turin", "Gdańsk", "Malmö")
CAP: Final = 3_000  # records that one query may match
PAGE: Final = 500
SLOWNESS_S: Final = 0.02  # of a page

Row = dict[str, Any]


class Archive:
    """The records, and who asked for what."""

    def __init__(self, records: int, seed: int, *, cap: int = CAP) -> None:
        self.token = secrets.token_urlsafe(24)
        self.cap = cap
        self.rows: dict[str, Row] = {}
        self.pages = 0
        self.edits = 0
        self._order: list[tuple[str, str]] = []  # (updated_at, id) of every record, sorted
        self._random = random.Random(seed)  # noqa: S311 - what records hold, not secrets
        for number in range(records):
            moment = FROM + YEARS * self._random.random()
            self._put(f"R{number:07}", moment, name=f"Record {number}", city=self._random.choice(CITIES))
        self._order.sort()
        self.app = Starlette(routes=[Route("/records", self._answer)])

    def edit(self) -> None:
        """Somebody changes a record."""
        key = self._random.choice(list(self.rows)) if not self.edits % 100 else f"R{self._any():07}"
        row = self.rows[key]
        del self._order[bisect.bisect_left(self._order, (row["updated_at"], key))]
        self._put(key, dt.datetime.now(dt.UTC), name=row["name"], city=f"{row['city']}, moved {self.edits}", sort=True)
        self.edits += 1

    async def edited(self, a_second: float) -> None:
        """Edit records, so many a second, until cancelled."""
        while True:
            await asyncio.sleep(1.0 / a_second)
            self.edit()

    def _any(self) -> int:
        return self._random.randrange(len(self.rows))

    def _put(self, key: str, moment: dt.datetime, *, name: str, city: str, sort: bool = False) -> None:
        at = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
        amount = f"{self._random.randrange(10**7) / 100:.2f}"
        self.rows[key] = {"id": key, "updated_at": at, "name": name, "city": city, "amount": float(amount)}
        if sort:
            bisect.insort(self._order, (at, key))
        else:
            self._order.append((at, key))

    async def _answer(self, request: Request) -> Response:
        if not secrets.compare_digest(request.headers.get("authorization", ""), f"Bearer {self.token}"):
            return JSONResponse({"error": "who are you?"}, 401)
        self.pages += 1
        await asyncio.sleep(SLOWNESS_S)
        asked = request.query_params
        since, until = _padded(asked.get("since", "")), _padded(asked.get("until", "9999"))
        first = bisect.bisect_left(self._order, (since, ""))
        last = bisect.bisect_left(self._order, (until, ""))
        if last - first > self.cap:
            return JSONResponse({"error": "QUERY_TOO_LARGE", "matches": last - first}, 400)
        if after := asked.get("after", ""):
            time, _, key = after.partition("~")
            first = bisect.bisect_right(self._order, (time, key))
        found = self._order[first : min(first + PAGE, last)]
        token = "~".join(found[-1]) if first + PAGE < last else None
        return JSONResponse({"records": [self.rows[key] for _, key in found], "next": token})


def _padded(time: str) -> str:
    """A time to the microsecond, as records have theirs: so that times compare as text."""
    if not time.endswith("Z"):
        return time
    whole, _, part = time[:-1].partition(".")
    return f"{whole}.{part:0<6}Z"


@asynccontextmanager
async def served(archive: Archive) -> AsyncIterator[str]:
    """Serve it; its address."""
    config = uvicorn.Config(
        archive.app,
        host="127.0.0.1",
        port=0,
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())  # noqa: SLF001 - serve() would take over the signals of whoever tests
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await serving

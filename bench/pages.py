"""A service with records by the page, over local HTTP; run as a process of its own.

``python -m flockiq.bench.pages RECORDS``: prints its address, serves until its input is closed. The same
number of a record is the same bytes, whoever asks and however often.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PAGE: Final = 1_000
MINUTE_S: Final = 60
_CITIES: Final = ("Hamburg", "München", "Wien", "Zürich", "Łódź", "København", "Lyon", "Leeds")
_TERMS: Final = ("N30", "N14", "N60", "prepaid")
_RECORD: Final = (
    '{"id":"ACC-%08d","name":"%s Handels GmbH %d","tax_id":"DE%09d","status":"%s","payment_terms":"%s",'
    '"credit_limit":"%d.%02d","risk":%d.%03d,"employees":%d,"active":%s,"founded":"%04d-%02d-%02d","city":"%s",'
    '"country":"DE","owner_id":"USR-%05d","phone":null,"address":{"street":"Lange Straße %d","zip":"%05d"},'
    '"updated_at":"2025-%02d-%02dT%02d:%02d:%02d.%03dZ"}'
)


def record(number: int) -> str:
    """One record as JSON text: a customer as a REST API writes it, its values scattered by arithmetic."""
    mixed = number * 2_654_435_761 % 4_294_967_296
    city = _CITIES[mixed % 8]
    return _RECORD % (
        *(number, city, mixed % 9_973, mixed % 1_000_000_000),
        *("open" if mixed % 5 else "on hold", _TERMS[mixed % 4]),
        *(mixed % 250_000, mixed % 100, mixed % 10, mixed % 1_000, mixed % 5_000, "true" if mixed % 3 else "false"),
        *(1950 + mixed % 70, 1 + mixed % 12, 1 + mixed % 28, city, mixed % 400, mixed % 199, mixed % 100_000),
        *(1 + number // 864_000 % 12, 1 + mixed % 28, number % 24, mixed % 60, mixed // 60 % 60, mixed % 1_000),
    )


def page(number: int, records: int) -> bytes:
    """A page of the service's answer, with the link of the next one."""
    first = number * PAGE
    last = min(first + PAGE, records)
    link = f'"/records?page={number + 1}"' if last < records else "null"
    return f'{{"items":[{",".join(map(record, range(first, last)))}],"next":{link}}}'.encode()


@contextmanager
def serving(records: int) -> Iterator[str]:
    """The address of a service with so many records, in a process of its own."""
    with subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", __spec__.name, str(records)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("the pipes were asked for")
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.stdin.close()
            process.wait(10)


def main(records: int) -> None:
    """Serve until standard input ends."""

    async def answer(request: Request) -> Response:
        number = request.query_params.get("page", "0")
        return Response(page(int(number), records), media_type="application/json")

    app = Starlette(routes=[Route("/records", answer)])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        threading.Thread(target=_end, args=(server,), daemon=True).start()
        sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        server.run(sockets=[listening])


def _end(server: uvicorn.Server) -> None:
    """End the server when nobody holds the other end of our input any more."""
    sys.stdin.buffer.read()
    server.should_exit = True


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""How each stream is doing, as capture tells it and page, health and clock read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from flockiq.shared.errors import Conflict, StoreUnavailable
from flockiq.shared.services import Services

Outcome = Literal["", "read", "resynced", "schema_changed", "delivered", "unavailable", "unusable", "misconfigured"]
Circuit = Literal["closed", "open"]

_TRIES = 10


class StreamStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """One stream as it stands. Times are µs since the epoch, 0 for never."""

    last_run_us: int = 0  # when it was last read to the end, or a delivery or file was taken
    last_record_us: int = 0  # when any record last arrived
    last_source_us: int = 0  # the greatest time a record gave
    records: int = 0  # records ever published
    run: int = 0
    outcome: Outcome = ""  # of the last run
    error: str = ""  # why the last run failed; "" once one succeeds
    failures: int = 0  # runs failed in a row
    retry_at_us: int = 0  # when a failing stream is tried again
    circuit: Circuit = "closed"  # open: failing, left alone until retry_at_us
    cursor_us: int = 0  # when the cursor last moved
    schema_us: int = 0  # when its columns last changed …
    schema: str = ""  # … and how
    quota_left: int = -1  # requests the source still allows, as it last told; -1: it does not tell
    quota_of: int = 0  # of so many; 0: it does not tell


_decode = msgspec.json.Decoder(StreamStatus).decode


async def statuses(services: Services) -> dict[tuple[str, str], StreamStatus]:
    """{(source, stream): status} of every stream that was ever read or told of."""
    prefix = f"status/{services.settings.tenant}/"
    documents = await services.registry.list(prefix)
    return {_names(key, prefix): _decode(document.value) for key, document in documents.items()}


async def touch(services: Services, source: str, stream: str, change: Callable[[StreamStatus], StreamStatus]) -> None:
    """Replace a stream's status by what ``change`` makes of it. StoreUnavailable if others keep winning."""
    key = f"status/{services.settings.tenant}/{source}/{stream}"
    for _ in range(_TRIES):
        document = await services.registry.get(key)
        before = _decode(document.value) if document else StreamStatus()
        after = change(before)
        if document and after == before:
            return
        try:
            await services.registry.put(key, msgspec.json.encode(after), document.etag if document else None)
        except Conflict:
            continue
        return
    raise StoreUnavailable(f"status of {source}/{stream}: {_TRIES} writes in a row met another; it will be tried again")


def arrived(now_us: int, records: int, source_us: int = 0) -> Callable[[StreamStatus], StreamStatus]:
    """The change that says ``records`` records arrived, the newest of them from ``source_us``."""

    def change(status: StreamStatus) -> StreamStatus:
        return msgspec.structs.replace(
            status,
            last_run_us=max(status.last_run_us, now_us),
            last_record_us=max(status.last_record_us, now_us) if records else status.last_record_us,
            last_source_us=max(status.last_source_us, source_us),
            records=status.records + records,
            outcome="delivered",
            error="",
        )

    return change


def _names(key: str, prefix: str) -> tuple[str, str]:
    source, _, stream = key.removeprefix(prefix).partition("/")
    return source, stream

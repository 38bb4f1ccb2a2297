"""When a stream's turn is: pure arithmetic over what the registry keeps of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from flockiq.shared.errors import Conflict, StoreUnavailable
from flockiq.shared.ports import Registry

UNANSWERED_US: Final = 5_000_000  # a sent slice that nobody read is sent again after this, then twice it, …
_DOUBLINGS: Final = 6
_SLACK: Final = 4  # a timer that comes early by a fourth of the interval is on time
_TRIES: Final = 10


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """One stream's place in the schedule. Times are µs since the epoch."""

    due_us: int = 0
    sent_us: int = 0  # when its slice was last put on hub work
    read_us: int = 0  # when its last run ended; before sent_us: a slice is outstanding
    unanswered: int = 0  # slices sent in a row that nobody read
    failures: int = 0  # runs failed in a row


def is_due(turn: Turn, now_us: int, interval_us: int) -> bool:
    """Whether a slice is to be sent now: it is time, and none sent before is likely to be read still."""
    if now_us < turn.due_us - interval_us // _SLACK:
        return False
    patience = UNANSWERED_US << min(max(turn.unanswered - 1, 0), _DOUBLINGS)
    return turn.sent_us <= turn.read_us or now_us >= turn.sent_us + patience


def is_stale(turn: Turn, sent_us: int) -> bool:
    """Whether the stream has been read since a slice was sent."""
    return sent_us <= turn.read_us


def sent(turn: Turn, now_us: int) -> Turn:
    """After a slice was put on the hub."""
    return msgspec.structs.replace(turn, sent_us=max(turn.sent_us, now_us), unanswered=turn.unanswered + 1)


def succeeded(turn: Turn, read_us: int, due_us: int) -> Turn:
    """After a run that ended well."""
    return msgspec.structs.replace(turn, read_us=max(turn.read_us, read_us), due_us=due_us, unanswered=0, failures=0)


def failed(turn: Turn, read_us: int, due_us: int) -> Turn:
    """After a run that failed."""
    after = succeeded(turn, read_us, due_us)
    return msgspec.structs.replace(after, failures=turn.failures + 1)


def held(turn: Turn, read_us: int, due_us: int) -> Turn:
    """After a run in which the source was not asked: whatever failed before has not been tried again."""
    return msgspec.structs.replace(succeeded(turn, read_us, due_us), failures=turn.failures)


_decode = msgspec.json.Decoder(Turn).decode


class Turns:
    """The turns of a tenant's streams in the registry, or those of a backfill's slices."""

    def __init__(self, registry: Registry, tenant: str, kind: str = "turn") -> None:
        self._registry = registry
        self._prefix = f"{kind}/{tenant}/"

    async def all(self) -> dict[tuple[str, str], Turn]:
        """{(source, stream): turn} of every stream that ever had one; of a slice, (source, stream/backfill/name)."""
        documents = await self._registry.list(self._prefix)
        named = {key.removeprefix(self._prefix).partition("/"): document for key, document in documents.items()}
        return {(source, rest): _decode(document.value) for (source, _, rest), document in named.items()}

    async def get(self, source: str, stream: str) -> Turn:
        """One stream's turn."""
        document = await self._registry.get(f"{self._prefix}{source}/{stream}")
        return _decode(document.value) if document else Turn()

    async def change(self, source: str, stream: str, step: Callable[[Turn], Turn]) -> Turn:
        """Replace a turn by ``step`` of it; schedule and reader both write. StoreUnavailable if others keep winning."""
        key = f"{self._prefix}{source}/{stream}"
        for _ in range(_TRIES):
            document = await self._registry.get(key)
            after = step(_decode(document.value) if document else Turn())
            try:
                await self._registry.put(key, msgspec.json.encode(after), document.etag if document else None)
            except Conflict:
                continue
            return after
        raise StoreUnavailable(f"{key}: {_TRIES} writes in a row met another; it will be tried again")

    async def remove(self, source: str, stream: str) -> None:
        """Remove the turn of what is not read any more."""
        await self._registry.delete(f"{self._prefix}{source}/{stream}")

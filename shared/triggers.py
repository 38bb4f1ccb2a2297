"""What a function gets from an Event Hub trigger, brought into the pipeline's own terms."""

from __future__ import annotations

import functools
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import azure.functions as func

from flockiq.shared import overflow
from flockiq.shared.errors import TransientError
from flockiq.shared.owner import Input, Owned, Owner
from flockiq.shared.progress import Notes, Progress
from flockiq.shared.services import Services, services
from flockiq.shared.settings import CONSUMER_GROUP

GARBAGE = (100_000, 50, 100)  # batches make objects by the ten thousand, and hardly ever cycles of them
gc.set_threshold(*GARBAGE)
SWITCH_S = 0.0002  # a commit asks for the interpreter at every statement, and Python would let a fold keep it for 5 ms
sys.setswitchinterval(SWITCH_S)

Handler = Callable[[list[func.EventHubEvent]], Awaitable[None]]

_owners: dict[tuple[int, str], Owner] = {}
_notes: dict[tuple[int, str, int], Notes] = {}


def on_hub(blueprint: func.Blueprint, name: str, hub: str, *, notes: bool = False) -> Callable[[Handler], object]:
    """Register a function on ``hub``: whole batches as bytes, tried again for ever.

    The trigger checkpoints a batch whether its function succeeded or failed; retrying without end
    holds the checkpoint. So only what another try may mend may leave the function. What was too large
    for an event is brought from Blobs first. With ``notes`` it is noted how far the function has come; an owner does
    that itself.
    """

    def register(handler: Handler) -> object:
        @functools.wraps(handler)  # the library reads the handler's own signature
        async def handle(events: list[func.EventHubEvent]) -> None:
            await handler([await _whole(event) for event in events])
            if notes:
                await _note(name, events)

        trigger = blueprint.event_hub_message_trigger(
            arg_name="events",
            event_hub_name=hub,
            connection="EventHub",
            consumer_group=CONSUMER_GROUP,
            cardinality=func.Cardinality.MANY,
            data_type=func.DataType.BINARY,
        )
        retry = blueprint.retry(
            strategy="exponential_backoff",
            max_retry_count="-1",
            minimum_interval="00:00:01",
            maximum_interval="00:01:00",
        )
        return blueprint.function_name(name)(trigger(retry(handle)))

    return register


async def _note(function: str, events: Sequence[func.EventHubEvent]) -> None:
    opened, partition = services(), partition_of(events)
    slot = (id(opened.registry), function, partition)
    if slot not in _notes:
        _notes[slot] = Notes(opened, function, partition)
    await _notes[slot].note(Progress(events[-1].sequence_number or 0, time.time_ns() // 1000))


class _Whole(func.EventHubEvent):
    """An event with the body it refers to; all else is its own."""

    def __init__(self, event: func.EventHubEvent, body: bytes) -> None:
        super().__init__(
            body=body,
            enqueued_time=event.enqueued_time,
            partition_key=event.partition_key,
            sequence_number=event.sequence_number,
            offset=event.offset,
        )
        self._event = event

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        """The batch's metadata."""
        return self._event.metadata


async def _whole(event: func.EventHubEvent) -> func.EventHubEvent:
    body = event.get_body()
    return _Whole(event, await overflow.whole(services().blobs, body)) if overflow.refers(body) else event


def partition_of(events: Sequence[func.EventHubEvent]) -> int:
    """The partition a batch came from; a batch never mixes partitions."""
    context = events[0].metadata.get("PartitionContext") or "{}"  # type: ignore[union-attr] # always set by the host
    if isinstance(context, str | bytes):
        context = json.loads(context)
    partition = context.get("PartitionId")
    if partition is None:
        raise TransientError("the host did not say which partition the batch is from; PartitionContext is missing")
    return int(partition)


def inputs(events: Sequence[func.EventHubEvent]) -> list[Input]:
    """A batch as sequence numbers and bodies, in order."""
    return [Input(event.sequence_number or 0, event.get_body()) for event in events]


def owner_of(services: Services, name: str, make: Callable[[], Owned]) -> Owner:
    """This process's owner of a state log; one for each, so that its state stays in memory."""
    slot = (id(services.state), name)
    owner = _owners.get(slot)
    if owner is None:
        owner = _owners[slot] = Owner(services, name, make())
    return owner

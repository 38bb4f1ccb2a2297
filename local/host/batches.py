"""An Event Hub batch as Azure's host sends it to the worker (cardinality many).

The bodies are the trigger's value; everything else is trigger metadata, in arrays alongside.
Times are .NET's DateTime without a kind: no zone suffix, trailing zeros trimmed. Arrays of text
drop nulls on their way, so ``PartitionKeyArray`` is empty for events sent without a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from flockiq.local.host.functions import EventHubTrigger
from flockiq.local.host.invoker import Input
from flockiq.local.host.messages import CollectionBytes, CollectionSInt64, CollectionString, TypedData
from flockiq.shared.ports import StoredEvent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAMESPACE = "localhost"


def encode(trigger: EventHubTrigger, events: Sequence[StoredEvent]) -> Input:
    """The invocation input for ``events``, all of one partition."""
    if trigger.binary:
        data = TypedData(collection_bytes=CollectionBytes([event.body for event in events]))
    else:
        # .NET decodes like this too: what is not UTF-8 becomes U+FFFD.
        bodies = [event.body.decode("utf-8", "replace") for event in events]
        data = TypedData(collection_string=CollectionString(bodies))
    times = [_naive(event.enqueued_us) for event in events]
    system = [
        {"PartitionKey": None, "SequenceNumber": event.sequence, "Offset": event.offset, "EnqueuedTimeUtc": time}
        for event, time in zip(events, times, strict=True)
    ]
    context = {
        "FullyQualifiedNamespace": NAMESPACE,
        "EventHubName": trigger.hub,
        "ConsumerGroup": trigger.consumer_group,
        "PartitionId": str(events[0].partition),
        "IsCheckpointingAfterInvocation": True,
    }
    return Input(
        data,
        {
            "PartitionContext": _json(context),
            "PartitionKeyArray": TypedData(collection_string=CollectionString([])),
            "OffsetArray": TypedData(collection_string=CollectionString([event.offset for event in events])),
            "SequenceNumberArray": TypedData(collection_sint64=CollectionSInt64([event.sequence for event in events])),
            "EnqueuedTimeUtcArray": _json(times),
            "PropertiesArray": _json([event.properties for event in events]),
            "SystemPropertiesArray": _json(system),
        },
        partition=events[0].partition,
    )


def _json(value: object) -> TypedData:
    return TypedData(json=msgspec.json.encode(value).decode())


def _naive(us: int) -> str:
    text = (_EPOCH + timedelta(microseconds=us)).replace(tzinfo=None).isoformat()
    return text.rstrip("0").rstrip(".") if "." in text else text

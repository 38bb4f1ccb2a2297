"""What links attach to: the hub's ingress, a partition's egress, $cbs and $management.

A node raises ``Refused`` with the service's condition; the connection turns it into a detach.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote_plus, urlsplit

from tests.peers.event_hubs import frames
from tests.peers.event_hubs.log import Incoming, Partition
from tests.peers.tokens import Issuer

MAX_MESSAGE_BYTES = 1_048_576  # of a publication, on the Standard tier
MAX_RECEIVERS = 5  # of a partition and consumer group, without an epoch

RESOURCE = "https://eventhubs.azure.net"
"""What a token for Event Hubs is for."""

NOT_FOUND = b"amqp:not-found"
UNAUTHORIZED = b"amqp:unauthorized-access"
STOLEN = b"amqp:link:stolen"
TOO_LARGE = b"amqp:link:message-size-exceeded"
LIMIT = b"amqp:resource-limit-exceeded"
INVALID = b"amqp:invalid-field"
FORCED = b"amqp:link:detach-forced"
BUSY = b"com.microsoft:server-busy"
INTERNAL = b"amqp:internal-error"


class Refused(Exception):
    """The service says no; ``condition`` is AMQP's name for why."""

    def __init__(self, condition: bytes, description: str) -> None:
        self.condition = condition
        super().__init__(description)


class Place(NamedTuple):
    """Where an address leads."""

    hub: str
    partition: int | None
    group: str = ""


@dataclass(slots=True)
class Hubs:
    """Every hub, and who reads it."""

    partitions: dict[str, list[Partition]]
    key_name: str
    key: str
    tokens: frozenset[str]  # bearer tokens that are let in
    issuer: Issuer | None  # whose tokens are let in as well
    keys: bool  # whether shared access signatures are
    retention_s: float
    max_message_bytes: int
    next_partition: int = 0
    publications: list[tuple[str, int, int]] = field(default_factory=list)  # hub, partition, how many events
    receivers: dict[tuple[str, int, str], list[Any]] = field(default_factory=dict)
    created_us: int = field(default_factory=lambda: time.time_ns() // 1000)

    def place(self, address: str) -> Place:
        """Where ``address`` leads: ``hub``, ``hub/Partitions/N`` or ``hub/ConsumerGroups/G/Partitions/N``."""
        path = (urlsplit(address).path if "//" in address else address).strip("/")
        match path.split("/"):
            case [hub]:
                place = Place(hub, None)
            case [hub, "Partitions", number] if number.isdecimal():
                place = Place(hub, int(number))
            case [hub, "ConsumerGroups", group, "Partitions", number] if number.isdecimal():
                place = Place(hub, int(number), group)
            case _:
                raise Refused(NOT_FOUND, f"The messaging entity '{address}' could not be found.")
        self.partitions_of(place.hub)
        if place.partition is not None:
            self.partition(place.hub, place.partition)
        return place

    def partitions_of(self, hub: str) -> list[Partition]:
        """A hub's partitions; Refused if there is no such hub."""
        if hub not in self.partitions:
            raise Refused(NOT_FOUND, f"The messaging entity 'sb://127.0.0.1/{hub}' could not be found.")
        return self.partitions[hub]

    def partition(self, hub: str, number: int) -> Partition:
        """One partition, its expired events dropped; Refused if there is none of that number."""
        partitions = self.partitions_of(hub)
        if not 0 <= number < len(partitions):
            raise Refused(
                b"com.microsoft:argument-out-of-range",
                f"The specified partition is invalid for an EventHub partition sender or receiver. It should be "
                f"between 0 and {len(partitions) - 1}.",
            )
        partitions[number].expire(time.time_ns() // 1000 - int(self.retention_s * 1e6))
        return partitions[number]

    def publish(self, place: Place, message_format: int, payload: bytes) -> tuple[int, int]:
        """Keep a publication whole; its partition and how many events it held."""
        if len(payload) > self.max_message_bytes:
            raise Refused(TOO_LARGE, f"The message (size {len(payload)} bytes) exceeds {self.max_message_bytes} bytes.")
        try:
            outer = frames.sections(payload)
            if message_format == frames.BATCH_FORMAT:
                events = [incoming(section.value) for section in outer if section.code == frames.DATA]
                key = _partition_key(outer)
                events = [event._replace(partition_key=event.partition_key or key) for event in events]
            else:
                events = [incoming(payload)]
        except (IndexError, struct.error, TypeError, UnicodeDecodeError) as error:
            raise Refused(b"amqp:decode-error", f"The message can't be read: {error}") from error
        number = place.partition if place.partition is not None else self._choose(place.hub, events)
        self.partition(place.hub, number).append(events)
        self.publications.append((place.hub, number, len(events)))
        return number, len(events)

    def _choose(self, hub: str, events: Sequence[Incoming]) -> int:
        count = len(self.partitions[hub])
        key = events[0].partition_key if events else None
        if key is not None:
            return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % count
        self.next_partition += 1
        return self.next_partition % count

    def properties(self, hub: str) -> dict[str, Any]:
        """What $management says of a hub."""
        return {
            "name": hub,
            "type": "com.microsoft:eventhub",
            "created_at": frames.timestamp(self.created_us),
            "partition_count": len(self.partitions_of(hub)),
            "partition_ids": [str(number) for number in range(len(self.partitions_of(hub)))],
        }

    def partition_properties(self, hub: str, number: int) -> dict[str, Any]:
        """What $management says of a partition."""
        partition = self.partition(hub, number)
        return {
            "name": hub,
            "type": "com.microsoft:partition",
            "partition": str(number),
            "begin_sequence_number": frames.long(partition.first),
            "last_enqueued_sequence_number": frames.long(partition.end - 1),
            "last_enqueued_offset": str(partition.last_offset),
            "last_enqueued_time_utc": frames.timestamp(partition.last_us),
            "is_partition_empty": not partition.events,
        }

    def admit(self, receiver: Any) -> list[Any]:
        """Let a receiver in beside or in place of others; those it takes the place of. Refused if it may not.

        https://learn.microsoft.com/azure/event-hubs/event-hubs-event-processor-host#epoch
        """
        others = self.receivers.setdefault((receiver.place.hub, receiver.place.partition, receiver.place.group), [])
        epochs = [other.epoch for other in others if other.epoch is not None]
        if receiver.epoch is None:
            if epochs:
                raise Refused(STOLEN, f"A receiver with epoch {max(epochs)} reads this partition; one without can't.")
            if len(others) >= MAX_RECEIVERS:
                raise Refused(LIMIT, f"Exceeded the maximum number of {MAX_RECEIVERS} receivers of a partition.")
            others.append(receiver)
            return []
        if epochs and max(epochs) > receiver.epoch:
            raise Refused(STOLEN, f"A receiver with a higher epoch {max(epochs)} already reads this partition.")
        taken, others[:] = list(others), [receiver]
        return taken

    def leave(self, receiver: Any) -> None:
        """A receiver is gone."""
        others = self.receivers.get((receiver.place.hub, receiver.place.partition, receiver.place.group), [])
        if receiver in others:
            others.remove(receiver)

    def authorise(self, token: str, audience: str, now: float) -> float:
        """Until when (seconds since 1970) a token lets its bearer in; PermissionError if it does not."""
        if not token.startswith("SharedAccessSignature "):
            if token in self.tokens:
                return now + 3600
            if self.issuer is None:
                raise PermissionError("InvalidToken: the token is not one that this namespace knows.")
            return self.issuer.ends(token, RESOURCE)
        if not self.keys:
            raise PermissionError("LocalAuthDisabled: Authorization failed because SAS authentication is disabled.")
        given = {name: values[0] for name, values in parse_qs(token.partition(" ")[2]).items()}
        signed = f"{quote_plus(given.get('sr', ''))}\n{given.get('se', '')}"
        wanted = base64.b64encode(hmac.new(self.key.encode(), signed.encode(), hashlib.sha256).digest()).decode()
        if given.get("skn") != self.key_name or not hmac.compare_digest(given.get("sig", ""), wanted):
            raise PermissionError("InvalidSignature: The token has an invalid signature.")
        if not audience.startswith(given["sr"]):
            raise PermissionError("InvalidAudience: The token is for another resource.")
        if float(given["se"]) <= now:
            raise PermissionError("ExpiredToken: The token is expired.")
        return float(given["se"])


def incoming(message: bytes) -> Incoming:
    """An event as it came, without the annotations of its sender but for the partition key."""
    parts = frames.sections(message)
    annotated = {frames.DELIVERY_ANNOTATIONS, frames.MESSAGE_ANNOTATIONS}
    application = next((part.value for part in parts if part.code == frames.APPLICATION_PROPERTIES), None) or {}
    return Incoming(
        message=b"".join(part.raw for part in parts if part.code not in annotated),
        partition_key=_partition_key(parts),
        body=b"".join(part.value for part in parts if part.code == frames.DATA),
        properties={frames.text(name): frames.text(value) for name, value in application.items()},
    )


def _partition_key(parts: Sequence[frames.Section]) -> str | None:
    for part in parts:
        if part.code == frames.MESSAGE_ANNOTATIONS and b"x-opt-partition-key" in part.value:
            return str(frames.text(part.value[b"x-opt-partition-key"]))
    return None

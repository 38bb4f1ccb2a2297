"""AMQP 1.0 on the wire: frames and message sections, by the codec of Microsoft's SDK.

The codec is the SDK's own (``azure.eventhub._pyamqp``): what it writes, the service reads. It writes
every field of a frame, trailing nulls too, without which its reading half fails.
https://docs.oasis-open.org/amqp/core/v1.0/os/amqp-core-transport-v1.0-os.html
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from azure.eventhub._pyamqp._decode import _DECODE_BY_CONSTRUCTOR, decode_frame
from azure.eventhub._pyamqp._encode import encode_annotations, encode_frame, encode_payload, encode_value
from azure.eventhub._pyamqp.message import Message, Properties
from azure.eventhub._pyamqp.types import TYPE, VALUE, AMQPTypes

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"
MAX_FRAME_BYTES = 65_536
BATCH_FORMAT = 0x80013700  # message-format of a batch: its data sections are messages

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
SASL_INIT = 0x41

DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES, DATA = 0x71, 0x72, 0x73, 0x74, 0x75


def encode(channel: int, performative: Any, *, sasl: bool = False) -> bytes:
    """A frame, ready to be written."""
    header, body = encode_frame(performative, frame_type=b"\x01" if sasl else b"\x00")
    return header + struct.pack(">H", channel) + bytes(body)


def decode(body: bytes) -> tuple[int, list[Any]]:
    """The descriptor and the fields of a frame; a transfer's payload is its last field."""
    return decode_frame(memoryview(body))


class Section(NamedTuple):
    """One section of a message: its descriptor, its bytes as they came, and what they say."""

    code: int
    raw: bytes
    value: Any


def sections(payload: bytes) -> list[Section]:
    """The sections of a message, in order. IndexError, struct.error or TypeError if it is none."""
    found, rest = [], memoryview(payload)
    while rest:
        after, value = _DECODE_BY_CONSTRUCTOR[rest[3]](rest[4:])
        found.append(Section(rest[2], bytes(rest[: len(rest) - len(after)]), value))
        rest = after
    return found


def annotations(code: int, values: dict[str, Any]) -> bytes:
    """A section of annotations; values may be typed by ``typed``."""
    output = bytearray()
    encode_value(
        output,
        {TYPE: AMQPTypes.described, VALUE: ({TYPE: AMQPTypes.ulong, VALUE: code}, encode_annotations(values))},
    )
    return bytes(output)


def message(*, correlation_id: Any, application: dict[str, Any], value: Any = None) -> bytes:
    """An answer of a request-response node."""
    output = bytearray()
    encode_payload(
        output,
        Message(properties=Properties(correlation_id=correlation_id), application_properties=application, value=value),
    )
    return bytes(output)


def long(value: int) -> dict[str, Any]:
    """A 64-bit integer."""
    return {TYPE: AMQPTypes.long, VALUE: value}


def timestamp(us: int) -> dict[str, Any]:
    """A moment, in milliseconds as AMQP has it."""
    return {TYPE: AMQPTypes.timestamp, VALUE: us // 1000}


def text(value: Any) -> Any:
    """Symbols and strings, which the codec gives as bytes, as text; anything else as it is."""
    return value.decode("utf-8") if isinstance(value, bytes) else value

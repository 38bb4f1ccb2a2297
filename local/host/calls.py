"""What a host and its worker processes say to each other: calls, cancellations and answers, in frames over a socket.

Azure's host speaks FunctionRpc over gRPC here; this says as much of it as Event Hub triggers need.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from flockiq.local.host.messages import (
    CollectionBytes,
    CollectionSInt64,
    CollectionString,
    InvocationRequest,
    InvocationResponse,
    ParameterBinding,
    RpcException,
    RpcRetryContext,
    RpcTraceContext,
    StatusResult,
    TypedData,
)

_LENGTH = 4  # bytes of a frame's length, before it
MAX_FRAME = 256 << 20  # far beyond any batch: what is longer is not ours

type Value = tuple[str, Any]
"""A ``TypedData``: its kind and what it holds."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """A worker has indexed the app."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """A worker can't index the app, and why."""

    reason: str


class Call(msgspec.Struct, frozen=True, tag=True):
    """Call a function once; ``number`` is the call's on its connection."""

    number: int
    function: str
    invocation_id: str
    parameter: str
    data: Value
    metadata: dict[str, Value]
    traceparent: str
    retry: RpcRetryContext


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Cancel a call: nobody waits for it any more."""

    number: int


class Answer(msgspec.Struct, frozen=True, tag=True):
    """What came of a call."""

    number: int
    error: RpcException | None = None


_encode = msgspec.msgpack.Encoder().encode
_to_worker = msgspec.msgpack.Decoder(Call | Cancel).decode
_to_host = msgspec.msgpack.Decoder(Ready | Failed | Answer).decode


def send(writer: asyncio.StreamWriter, message: Ready | Failed | Call | Cancel | Answer) -> None:
    """Put a message on its way."""
    body = _encode(message)
    writer.write(len(body).to_bytes(_LENGTH, "big") + body)


async def heard_by_worker(reader: asyncio.StreamReader) -> Call | Cancel | None:
    """The host's next message; None when it has gone."""
    body = await _frame(reader)
    return None if body is None else _to_worker(body)


async def heard_by_host(reader: asyncio.StreamReader) -> Ready | Failed | Answer | None:
    """A worker's next message; None when it has ended."""
    body = await _frame(reader)
    return None if body is None else _to_host(body)


async def _frame(reader: asyncio.StreamReader) -> bytes | None:
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH), "big")
        return await reader.readexactly(length) if length <= MAX_FRAME else None
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def call_of(number: int, function: str, request: InvocationRequest) -> Call:
    """A request as it is sent."""
    (parameter,) = request.input_data
    if parameter.data is None:
        raise AssertionError("a trigger always gives a value")
    return Call(
        number,
        function,
        request.invocation_id,
        parameter.name,
        _sent(parameter.data),
        {name: _sent(value) for name, value in request.trigger_metadata.items()},
        request.trace_context.trace_parent,
        request.retry_context,
    )


def request_of(call: Call, function_id: str) -> InvocationRequest:
    """The request that was sent."""
    return InvocationRequest(
        invocation_id=call.invocation_id,
        function_id=function_id,
        input_data=[ParameterBinding(call.parameter, _received(call.data))],
        trigger_metadata={name: _received(value) for name, value in call.metadata.items()},
        trace_context=RpcTraceContext(call.traceparent),
        retry_context=call.retry,
    )


def response_of(invocation_id: str, error: RpcException | None) -> InvocationResponse:
    """An answer as the worker library gives it."""
    status = StatusResult.Success if error is None else StatusResult.Failure
    return InvocationResponse(invocation_id, StatusResult(status, error))


def _sent(value: TypedData) -> Value:
    held = value.held
    match held:
        case CollectionBytes():
            return "collection_bytes", list(held.bytes)
        case CollectionString():
            return "collection_string", list(held.string)
        case CollectionSInt64():
            return "collection_sint64", list(held.sint64)
        case _:
            return value.WhichOneof("data"), held


def _received(value: Value) -> TypedData:
    kind, held = value
    match kind:
        case "collection_bytes":
            return TypedData(collection_bytes=CollectionBytes(held))
        case "collection_string":
            return TypedData(collection_string=CollectionString(held))
        case "collection_sint64":
            return TypedData(collection_sint64=CollectionSInt64(held))
        case _:
            return TypedData(**{kind: held})

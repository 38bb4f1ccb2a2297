"""The messages Microsoft's worker library takes and gives, with the names of FunctionRpc.proto.

The library is written against the generated protobuf classes and handed them as one object
called ``protos``. This module is that object: plain classes with the same attributes, because
host and worker share a process here and nothing is ever serialised between them.

https://github.com/Azure/azure-functions-language-worker-protobuf
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar


@dataclass(slots=True)
class RpcException:
    """How an exception crosses from worker to host: as text."""

    message: str = ""
    stack_trace: str = ""
    source: str = ""


@dataclass(slots=True)
class StatusResult:
    """Whether a request was carried out."""

    Failure: ClassVar[int] = 0
    Success: ClassVar[int] = 1

    status: int
    exception: RpcException | None = None


@dataclass(slots=True)
class WorkerMetadata:
    """What the worker says of itself."""

    runtime_name: str
    runtime_version: str
    worker_version: str
    worker_bitness: str
    custom_properties: Mapping[str, str]


@dataclass(slots=True)
class WorkerInitResponse:
    """The answer to the first request; the library indexes the app while it makes it."""

    capabilities: Mapping[str, str]
    worker_metadata: WorkerMetadata
    result: StatusResult


@dataclass(slots=True)
class BindingInfo:
    """A binding's kind; the numbers are the proto's enums."""

    # BindingInfo.Direction and BindingInfo.DataType
    out: ClassVar[int] = 1
    inout: ClassVar[int] = 2
    undefined: ClassVar[int] = 0

    type: str
    data_type: int | None
    direction: int


@dataclass(slots=True)
class RpcRetryOptions:
    """A function's retry policy; -1 retries go on for ever."""

    max_retry_count: int
    retry_strategy: str
    delay_interval: timedelta = timedelta(0)
    minimum_interval: timedelta = timedelta(0)
    maximum_interval: timedelta = timedelta(0)


@dataclass(slots=True)
class RpcFunctionMetadata:
    """One indexed function; ``raw_bindings`` are the JSON of function.json's bindings."""

    name: str
    function_id: str
    raw_bindings: Sequence[str]
    bindings: Mapping[str, BindingInfo]
    retry_options: RpcRetryOptions | None
    directory: str
    script_file: str
    entry_point: str
    managed_dependency_enabled: bool
    is_proxy: bool
    language: str
    properties: Mapping[str, str]


@dataclass(slots=True)
class FunctionMetadataResponse:
    """Every function of the app; None when the folder holds no function_app.py."""

    use_default_metadata_indexing: bool
    function_metadata_results: Sequence[RpcFunctionMetadata] | None
    result: StatusResult


@dataclass(slots=True)
class CollectionBytes:
    """Bodies of a batch of binary events."""

    bytes: Sequence[bytes]


@dataclass(slots=True)
class CollectionString:
    """Texts, such as the bodies of a batch without ``data_type="binary"``."""

    string: Sequence[str]


@dataclass(slots=True)
class CollectionSInt64:
    """Whole numbers, such as sequence numbers."""

    sint64: Sequence[int]


@dataclass(slots=True)
class NullableString:
    """A cookie attribute."""

    value: str


@dataclass(slots=True)
class NullableBool:
    """A cookie attribute."""

    value: bool


@dataclass(slots=True)
class NullableDouble:
    """A cookie attribute."""

    value: float


@dataclass(slots=True)
class Timestamp:
    """A moment, in seconds since 1970."""

    seconds: int


@dataclass(slots=True)
class NullableTimestamp:
    """A cookie attribute."""

    value: Timestamp


# The proto calls one member None, which only the functional form can spell.
_SameSite = enum.Enum("_SameSite", ["None", "Lax", "Strict", "ExplicitNone"])


@dataclass(slots=True)
class RpcHttpCookie:
    """One Set-Cookie of a response."""

    SameSite: ClassVar[type[enum.Enum]] = _SameSite

    name: str
    value: str
    domain: NullableString | None = None
    path: NullableString | None = None
    expires: NullableTimestamp | None = None
    secure: NullableBool | None = None
    http_only: NullableBool | None = None
    same_site: enum.Enum | None = None
    max_age: NullableDouble | None = None


@dataclass(slots=True)
class RpcHttp:
    """An HTTP request on its way in, or a response on its way out."""

    method: str = ""
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: TypedData | None = None
    params: Mapping[str, str] = field(default_factory=dict)  # of the route
    query: Mapping[str, str] = field(default_factory=dict)
    status_code: str = ""
    cookies: Sequence[RpcHttpCookie] | None = None
    enable_content_negotiation: bool = False


class TypedData:
    """A value and which of the proto's kinds it is: ``TypedData(json="{}")``."""

    def __init__(self, **value: object) -> None:
        ((self._kind, held),) = value.items()
        setattr(self, self._kind, held)

    def WhichOneof(self, _group: str) -> str:  # noqa: N802 - protobuf's name
        """The kind that is set."""
        return self._kind

    @property
    def held(self) -> object:
        """The value, whatever its kind."""
        return getattr(self, self._kind)


@dataclass(slots=True)
class ParameterBinding:
    """The value for, or from, one parameter of a function."""

    name: str
    data: TypedData | None

    def WhichOneof(self, _group: str) -> str:  # noqa: N802 - protobuf's name
        """Always the value itself: shared memory is for hosts in another process."""
        return "data"


@dataclass(slots=True)
class RpcTraceContext:
    """W3C trace context."""

    trace_parent: str
    trace_state: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class RpcRetryContext:
    """Which retry this invocation is; 0 is the first attempt."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: RpcException | None = None


@dataclass(slots=True)
class InvocationRequest:
    """Call one function once."""

    invocation_id: str
    function_id: str
    input_data: Sequence[ParameterBinding]
    trigger_metadata: Mapping[str, TypedData]
    trace_context: RpcTraceContext
    retry_context: RpcRetryContext


@dataclass(slots=True)
class InvocationResponse:
    """What came of it."""

    invocation_id: str
    result: StatusResult
    return_value: TypedData | None = None
    output_data: Sequence[ParameterBinding] = ()


@dataclass(slots=True)
class WorkerInitRequest:
    """Index the app in this folder."""

    function_app_directory: str
    capabilities: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class StreamingMessage:
    """The envelope of a request: one of its fields is set."""

    worker_init_request: WorkerInitRequest | None = None
    invocation_request: InvocationRequest | None = None


@dataclass(slots=True)
class WorkerRequest:
    """What the library's coroutines take: the envelope, and the worker's own properties."""

    request: StreamingMessage
    properties: Mapping[str, object] = field(default_factory=dict)

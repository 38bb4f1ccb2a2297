"""Microsoft's own worker library, driven in this process.

``azure-functions-runtime`` indexes the v2 programming model, checks it, converts types and calls
the functions, exactly as it does in Azure; this module is the only one that talks to it. The
library keeps its state in module globals, hence one open ``Runtime`` per process.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, NamedTuple

import azure_functions_runtime as worker
from azure_functions_runtime import functions as worker_functions
from azure_functions_runtime import handle_event, http_v2
from azure_functions_runtime import version as worker_version
from azure_functions_runtime.utils import threadpool

from flockiq.local.host import messages
from flockiq.local.host.errors import HostError

SCRIPT = "function_app.py"
_MODULE = "function_app"


class RuntimeVersion(NamedTuple):
    """Which library runs the functions."""

    name: str
    version: str


VERSION = RuntimeVersion("azure-functions-runtime", str(worker_version.VERSION))


class Runtime:
    """The worker, holding one indexed app."""

    _open: ClassVar[bool] = False

    def __init__(self) -> None:
        if Runtime._open:
            raise HostError(
                "this process already runs an app: the worker library keeps one app per process. "
                "Stop the other host first, or start this one in a process of its own."
            )
        Runtime._open = True
        self._folder = ""
        self._executor: ThreadPoolExecutor | None = None
        self._log = logging.getLogger("azure.functions")
        self._log_level = self._log.level

    async def index(self, app: Path) -> Sequence[messages.RpcFunctionMetadata]:
        """Import ``app``'s function_app.py and give its functions. HostError if that fails, with the traceback."""
        if not (app / SCRIPT).is_file():
            raise HostError(f"{app} holds no {SCRIPT}; point the host at a function app's folder.")
        self._folder = str(app)
        sys.path.insert(0, self._folder)
        sys.modules.pop(_MODULE, None)  # another folder's, indexed earlier in this process
        importlib.invalidate_caches()
        worker.start_threadpool_executor()
        self._executor = worker.get_threadpool_executor()
        # The library logs what it also returns; once is enough.
        self._log.setLevel(logging.CRITICAL)
        try:
            started = await worker.worker_init_request(
                messages.WorkerRequest(
                    messages.StreamingMessage(worker_init_request=messages.WorkerInitRequest(self._folder)),
                    {"host": "127.0.0.1", "protos": messages},
                )
            )
        finally:
            self._log.setLevel(self._log_level or logging.WARNING)
        failure = started.result.exception
        if failure is not None:
            raise HostError(
                f"{app / SCRIPT} can't be indexed, so no function runs: {failure.message}\n\n{failure.stack_trace}"
            )
        if http_v2.HttpV2Registry.http_v2_enabled():
            raise HostError(
                f"{app / SCRIPT} uses HTTP streaming, which this host does not serve; use func.HttpRequest."
            )
        indexed = await worker.functions_metadata_request(messages.WorkerRequest(messages.StreamingMessage()))
        functions: Sequence[messages.RpcFunctionMetadata] | None = indexed.function_metadata_results
        if not functions:
            raise HostError(
                f"{app / SCRIPT} registers no function; decorate one, or register a blueprint that has one."
            )
        return functions

    def is_async(self, function_id: str) -> bool:
        """Whether the function is a coroutine function: only those can be cancelled."""
        return bool(handle_event._functions.get_function(function_id).is_async)  # noqa: SLF001 - not told otherwise

    async def invoke(self, request: messages.InvocationRequest) -> messages.InvocationResponse:
        """Call a function once. What it raises comes back in the response."""
        response: messages.InvocationResponse = await worker.invocation_request(
            messages.WorkerRequest(messages.StreamingMessage(invocation_request=request))
        )
        return response

    def close(self) -> None:
        """Forget the app, so that this process may index another."""
        if not Runtime._open:
            return
        Runtime._open = False
        if self._executor is not None:
            # Not the library's own stop: that one waits without end for a function that hangs.
            self._executor.shutdown(wait=False, cancel_futures=True)
            threadpool._threadpool_executor = None  # noqa: SLF001 - as above
        handle_event._functions = worker_functions.Registry()  # noqa: SLF001 - the library has no way to forget
        handle_event._metadata_result = None  # noqa: SLF001 - as above
        http_v2.HttpV2Registry._http_v2_enabled_checked = False  # noqa: SLF001 - as above
        sys.modules.pop(_MODULE, None)
        if self._folder in sys.path:
            sys.path.remove(self._folder)
        self._log.setLevel(self._log_level)

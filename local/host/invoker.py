"""Calling a function: the time limit, the retries, and what is said when it fails."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import uuid
from collections.abc import Mapping
from typing import NamedTuple

from flockiq.local.host.errors import Stopped
from flockiq.local.host.functions import EventHubTrigger, Function, HttpTrigger
from flockiq.local.host.messages import (
    InvocationRequest,
    InvocationResponse,
    ParameterBinding,
    RpcException,
    RpcRetryContext,
    RpcTraceContext,
    StatusResult,
    TypedData,
)
from flockiq.local.host.retries import unless_stopped
from flockiq.local.host.runtime import Runtime
from flockiq.local.host.stats import FunctionStats
from flockiq.local.host.turns import Turns
from flockiq.local.host.workers import Workers

log = logging.getLogger("flockiq.host")

_LONGEST_ERROR = 500  # of what is kept to be shown; the log has it all
_LIBRARY_FRAME = re.compile(r'  File "[^"]*/azure_functions_runtime/.*\n(?:    .*\n)*')


class Input(NamedTuple):
    """What the trigger gives its function."""

    data: TypedData
    metadata: Mapping[str, TypedData]
    traceparent: str = ""
    partition: int | None = None  # of an Event Hub trigger: which worker process it goes to


class Outcome(NamedTuple):
    """What came of one attempt; ``error`` is None when it succeeded."""

    value: TypedData | None
    error: RpcException | None


class Invoker:
    """Calls the functions of one runtime, and counts."""

    def __init__(
        self,
        runtime: Runtime,
        functions: Mapping[str, Function],
        timeout_s: float | None,
        stopping: asyncio.Event,
        workers: Workers | None = None,
    ) -> None:
        self._runtime = runtime
        self._workers = workers
        self._turns = Turns()  # at this process
        self._timeout_s = timeout_s
        self._stopping = stopping
        self.stats = {name: FunctionStats(name, _kind(function)) for name, function in functions.items()}

    def turns(self, partition: int) -> Turns:
        """The turns at the process where a partition's batches are worked on."""
        return self._turns if self._workers is None else self._workers.of(partition).turns

    async def once(self, function: Function, given: Input, retry: RpcRetryContext | None = None) -> Outcome:
        """One attempt. A failure is an outcome; only cancellation raises."""
        request = InvocationRequest(
            invocation_id=str(uuid.uuid4()),
            function_id=function.id,
            input_data=[ParameterBinding(function.parameter, given.data)],
            trigger_metadata=given.metadata,
            trace_context=RpcTraceContext(given.traceparent or _traceparent()),
            retry_context=retry or RpcRetryContext(),
        )
        stats = self.stats[function.name]
        stats.invocations += 1
        stats.running += 1
        try:
            outcome = await self._limited(function, request, given.partition)
        finally:
            stats.running -= 1
        if outcome.error is not None:
            stats.failures += 1
            stats.last_error = outcome.error.message[:_LONGEST_ERROR]
            if request.retry_context.retry_count == 0:
                log.error("%s failed: %s\n%s", function.name, outcome.error.message, _own(outcome.error.stack_trace))
        return outcome

    async def with_retries(self, function: Function, given: Input) -> bool:
        """Attempts until one succeeds (True) or the policy allows no more (False).

        Stopped if the host stops before that: an attempt under way is let finish, a wait is not.
        """
        policy, retry = function.retry, 0
        error: RpcException | None = None
        while True:
            if self._stopping.is_set():
                raise Stopped
            most = policy.most if policy else 0
            outcome = await self.once(function, given, RpcRetryContext(retry, most, error))
            error = outcome.error
            if error is None:
                return True
            if retry and policy:
                of = "" if policy.most < 0 else f" of {policy.most}"
                log.warning("%s failed again, retry %d%s: %s", function.name, retry, of, error.message)
            retry += 1
            if policy is None or not policy.allows(retry):
                return False
            await unless_stopped(self._stopping, asyncio.sleep(policy.delay_s(retry)))

    async def _limited(self, function: Function, request: InvocationRequest, partition: int | None) -> Outcome:
        if function.is_async:
            try:
                async with asyncio.timeout(self._timeout_s):
                    return _outcome(await self._invoked(function, request, partition))
            except TimeoutError:  # only ours: what the function raises comes back in the response
                return self._timed_out(function, "it was cancelled")
        call = asyncio.ensure_future(self._invoked(function, request, partition))
        try:
            return _outcome(await asyncio.wait_for(asyncio.shield(call), self._timeout_s))
        except TimeoutError:
            outcome = self._timed_out(function, "it runs in a thread, which can't be cancelled, so it is waited for")
        except asyncio.CancelledError:
            call.cancel()  # the thread goes on; nobody waits for it any more
            raise
        # A thread can't be ended from outside. To go on without it would run the function twice at
        # once on the same partition, so the host says so and waits.
        log.error("%s is over its time: %s", function.name, outcome.error and outcome.error.message)
        await call
        return outcome

    async def _invoked(
        self, function: Function, request: InvocationRequest, partition: int | None
    ) -> InvocationResponse:
        """Call it in the worker of its partition if there are workers, else here."""
        if self._workers is None or partition is None:
            return await self._runtime.invoke(request)
        return await self._workers.of(partition).invoke(function.name, request)

    def _timed_out(self, function: Function, then: str) -> Outcome:
        return Outcome(
            None,
            RpcException(
                f"FunctionTimeout: {function.name} took longer than the {self._timeout_s:g} s "
                f"that functionTimeout in host.json allows; {then}"
            ),
        )


def _outcome(response: InvocationResponse) -> Outcome:
    if response.result.status == StatusResult.Success:
        return Outcome(response.return_value, None)
    return Outcome(None, response.result.exception or RpcException("the worker library gave no reason"))


def _own(trace: str) -> str:
    """``trace`` from where the function begins, without the library's way there."""
    return _LIBRARY_FRAME.sub("", trace).rstrip()


def _traceparent() -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"


def _kind(function: Function) -> str:
    if isinstance(function.trigger, HttpTrigger):
        return "http"
    return "eventHub" if isinstance(function.trigger, EventHubTrigger) else "timer"

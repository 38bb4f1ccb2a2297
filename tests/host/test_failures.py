"""Retries, time limits, and what is said about a function that fails."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flockiq.local.host.ledger import Ledger, Place
from flockiq.local.host.messages import RpcRetryOptions
from flockiq.local.host.retries import FOR_EVER, RetryPolicy
from flockiq.shared.adapters.embedded.events import SqliteEvents
from flockiq.shared.ports import OutgoingEvent
from tests.host.apps import Start, eventually

LIMITED = {"functionTimeout": "00:00:01", "extensions": {"http": {"routePrefix": ""}}}


def failing(times: int, retry: str) -> str:
    """An app whose function fails ``times`` times, under a retry policy."""
    return f"""
        @hub()
        @app.retry({retry})
        async def orders(events: Events, context: func.Context) -> None:
            retry = context.retry_context
            seen.append((time.monotonic(), retry.retry_count, retry.max_retry_count,
                         retry.rpc_exception and retry.rpc_exception.message))
            if len(seen) <= {times}:
                raise RuntimeError(f"not yet {{len(seen)}}")
    """


async def checkpoint(start_again: Path) -> int | None:
    """Where the stopped host's function stands."""
    ledger = Ledger(start_again)
    try:
        return ledger.checkpoint(Place("orders", "$Default", "orders", 0))
    finally:
        ledger.close()


async def test_retries_hold_the_checkpoint_until_one_succeeds(
    start: Start, events: SqliteEvents, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With -1 it goes on for ever; each attempt is told which it is and why; one traceback, one line a retry."""
    caplog.set_level(logging.WARNING, "flockiq.host")
    await events.publish("orders", [OutgoingEvent(0, b"a")])
    running = await start(
        failing(
            3,
            'strategy="exponential_backoff", max_retry_count="-1", '
            'minimum_interval="00:00:00", maximum_interval="00:00:01"',
        )
    )
    await eventually(lambda: len(running.app.seen) >= 2)
    assert await running.host.lag() == {"orders": 1}
    await eventually(lambda: len(running.app.seen) == 4)
    assert [(count, most, why) for _, count, most, why in running.app.seen] == [
        (0, -1, None),
        (1, -1, "RuntimeError: not yet 1"),
        (2, -1, "RuntimeError: not yet 2"),
        (3, -1, "RuntimeError: not yet 3"),
    ]
    waits = [later[0] - earlier[0] for earlier, later in zip(running.app.seen, running.app.seen[1:], strict=False)]
    assert waits[0] < waits[2]
    stats = running.host.functions["orders"]
    assert (stats.invocations, stats.failures) == (4, 3)
    await running.host.stop()
    assert await checkpoint(data) == 1
    assert caplog.text.count("Traceback") == 1
    assert caplog.text.count("orders failed again, retry ") == 2


async def test_exhausted_retries_move_the_checkpoint(
    start: Start, events: SqliteEvents, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in Azure, after the last retry the batch is passed over, and the host says so."""
    await events.publish("orders", [OutgoingEvent(0, b"a")])
    running = await start(failing(99, 'strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:00"'))
    await eventually(lambda: len(running.app.seen) == 3)
    await asyncio.sleep(0.3)
    await running.host.stop()
    assert len(running.app.seen) == 3
    assert await checkpoint(data) == 1
    assert "retry 2 of 2" in caplog.text
    assert "1 events of hub orders partition 0 (from 0) are passed over" in caplog.text


async def test_a_stop_ends_the_wait_for_a_retry_and_keeps_the_checkpoint(
    start: Start, events: SqliteEvents, data: Path
) -> None:
    """An hour's wait does not hold up a stop, and the batch comes again."""
    await events.publish("orders", [OutgoingEvent(0, b"a")])
    running = await start(failing(99, 'strategy="fixed_delay", max_retry_count="-1", delay_interval="01:00:00"'))
    await eventually(lambda: running.host.functions["orders"].failures == 1)
    async with asyncio.timeout(2):
        await running.host.stop()
    assert await checkpoint(data) is None


async def test_a_function_over_its_time_is_cancelled(
    start: Start, events: SqliteEvents, caplog: pytest.LogCaptureFixture
) -> None:
    """FunctionTimeout ends a coroutine, which counts as a failure that says what limit it met."""
    await events.publish("orders", [OutgoingEvent(0, b"a")])
    running = await start(
        """
        @hub()
        async def orders(events: Events) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise
        """,
        host=LIMITED,
    )
    await eventually(lambda: running.host.functions["orders"].failures == 1)
    assert running.app.seen == ["cancelled"]
    assert "orders took longer than the 1 s that functionTimeout in host.json allows" in caplog.text
    assert "FunctionTimeout" in running.host.functions["orders"].last_error


async def test_a_thread_over_its_time_is_reported_and_waited_for(
    start: Start, events: SqliteEvents, caplog: pytest.LogCaptureFixture
) -> None:
    """A plain function can't be cancelled; the next batch does not start beside it."""
    await events.publish("orders", [OutgoingEvent(0, b"a"), OutgoingEvent(0, b"b")])
    running = await start(
        """
        @hub()
        def orders(events: Events) -> None:
            seen.append("in")
            time.sleep(1.4 if len(seen) == 1 else 0)
            seen.append("out")
        """,
        host={**LIMITED, "extensions": {"http": {"routePrefix": ""}, "eventHubs": {"maxEventBatchSize": 1}}},
    )
    await eventually(lambda: "can't be cancelled" in caplog.text)
    assert running.app.seen == ["in"]
    await eventually(lambda: len(running.app.seen) == 4)
    assert running.app.seen == ["in", "out", "in", "out"]
    assert running.host.functions["orders"].failures == 1


async def test_a_functions_own_timeout_error_is_its_own(start: Start, events: SqliteEvents) -> None:
    """A TimeoutError the function raises is not taken for the host's limit."""
    await events.publish("orders", [OutgoingEvent(0, b"a")])
    running = await start(
        """
        @hub()
        async def orders(events: Events) -> None:
            raise TimeoutError("the source was slow")
        """
    )
    await eventually(lambda: running.host.functions["orders"].failures == 1)
    assert running.host.functions["orders"].last_error == "TimeoutError: the source was slow"


async def test_a_function_that_breaks_its_binding_is_a_failure(start: Start, events: SqliteEvents) -> None:
    """What the library itself refuses is reported like what the function raises."""
    await events.publish("orders", [OutgoingEvent(0, b"a")])
    running = await start("@hub()\nasync def orders(events: Events):\n    return 1")
    await eventually(lambda: running.host.functions["orders"].failures == 1)
    assert "returned a non-None value" in running.host.functions["orders"].last_error


@given(st.integers(1, 2000), st.floats(0, 60), st.floats(0, 3600))
def test_growing_delays_stay_between_their_bounds(retry: int, first: float, longest: float) -> None:
    """However many retries there were, the wait is neither zero nor over the longest."""
    delay = RetryPolicy(FOR_EVER, first, longest, grows=True).delay_s(retry)
    assert 0.1 <= delay <= max(longest, first, 0.1)


@pytest.mark.parametrize(
    ("options", "allowed", "delay"),
    [
        ({"max_retry_count": 3, "retry_strategy": "fixed_delay"}, 3, 0.1),
        ({"max_retry_count": 0, "retry_strategy": "exponential_backoff"}, 0, 0.1),
    ],
)
def test_a_policy_allows_as_many_retries_as_it_says(options: dict[str, Any], allowed: int, delay: float) -> None:
    """Counting from the first retry; without an interval it still does not spin."""
    policy = RetryPolicy.of(RpcRetryOptions(**options))
    assert [policy.allows(retry) for retry in range(1, 6)] == [retry <= allowed for retry in range(1, 6)]
    assert policy.delay_s(1) == delay

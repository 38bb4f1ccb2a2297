"""Timer triggers: the schedule monitor, and one loop per timer, so that none overlaps itself.

As in Azure, the schedule of a timer that fires less than once a minute is monitored: its status
is stored after every run, and a start that finds an occurrence missed runs it at once, past due.
Occurrences missed while the function runs are skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from flockiq.local.host.errors import Stopped
from flockiq.local.host.functions import Function, TimerTrigger
from flockiq.local.host.invoker import Input, Invoker
from flockiq.local.host.ledger import Ledger, ScheduleStatus
from flockiq.local.host.messages import TypedData
from flockiq.local.host.retries import unless_stopped

_NEVER = datetime(1, 1, 1, tzinfo=UTC)  # .NET's default(DateTime)
_LONGEST_SLEEP_S = 60.0  # the machine may sleep, or its clock be set


def _now() -> datetime:
    return datetime.now(UTC)


class Timer:
    """Runs one timer function when it is due, until the host stops."""

    def __init__(
        self,
        function: Function,
        trigger: TimerTrigger,
        *,
        ledger: Ledger,
        invoker: Invoker,
        stopping: asyncio.Event,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._function = function
        self._trigger = trigger
        self._ledger = ledger
        self._invoker = invoker
        self._stopping = stopping
        self._now = now
        self._monitored = trigger.use_monitor and not trigger.schedule.is_denser_than(timedelta(minutes=1), now())
        self._status: ScheduleStatus | None = None

    async def run(self) -> None:
        """Fire at start if past due or asked to, then on schedule."""
        try:
            if self._missed_one():
                await self._fire(past_due=True)
            elif self._trigger.run_on_startup:
                await self._fire(past_due=False)
            while True:
                await self._sleep_until(self._trigger.schedule.next(self._now()))
                await self._fire(past_due=False)
        except Stopped:
            return

    def _missed_one(self) -> bool:
        """Whether an occurrence passed since the status was last stored. Stores a first one."""
        if not self._monitored:
            return False
        now, schedule = self._now(), self._trigger.schedule
        status = self._ledger.timer(self._function.name)
        if status is None:
            self._remember(ScheduleStatus(_NEVER, schedule.next(now), now))
            return False
        if status.next != schedule.next(status.last_updated if status.last == _NEVER else status.last):
            # The schedule was edited: an occurrence that only the old one promised was not missed.
            status = ScheduleStatus(_NEVER, schedule.next(now), now)
            self._remember(status)
        self._status = status
        return now > status.next

    async def _fire(self, *, past_due: bool) -> None:
        began = self._now()
        status = None if self._status is None else msgspec.to_builtins(self._status)
        given = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
        await self._invoker.with_retries(self._function, Input(TypedData(json=msgspec.json.encode(given).decode()), {}))
        if self._monitored:
            self._remember(ScheduleStatus(began, self._trigger.schedule.next(began), self._now()))

    def _remember(self, status: ScheduleStatus) -> None:
        self._status = status
        self._ledger.record_timer(self._function.name, status)

    async def _sleep_until(self, due: datetime) -> None:
        while (left := (due - self._now()).total_seconds()) > 0:
            await unless_stopped(self._stopping, asyncio.sleep(min(left, _LONGEST_SLEEP_S)))

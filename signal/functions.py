"""The trigger of the clock."""

from __future__ import annotations

import azure.functions as func

from flockiq.shared.config.load import config
from flockiq.shared.services import services
from flockiq.signal.clock import Clock

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the library has no annotation there

_clock: Clock | None = None


@blueprint.function_name("signal_clock")
@blueprint.timer_trigger(arg_name="timer", schedule="%FLOCKIQ_CLOCK_SCHEDULE%", run_on_startup=True)
async def signal_clock(timer: func.TimerRequest) -> None:  # noqa: ARG001 - a late tick needs no other treatment
    """Tell every partition the time, run query rules, listen for silent feeds."""
    global _clock  # noqa: PLW0603 - one process, one clock
    if _clock is None:
        _clock = Clock(services(), config())
    await _clock.tick()

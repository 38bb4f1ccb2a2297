"""How the run of a stream, or of one of its slices, ended: every fault of a source told apart from ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from flockiq.capture.http.circuit import CircuitOpen
from flockiq.shared.config.sources import Source
from flockiq.shared.errors import ConfigError, LeaseLost, NotFound, SourceError, SourceUnavailable, TransientError
from flockiq.shared.status import Outcome

log = logging.getLogger("flockiq.capture")

_GRACE_S: Final = 30.0  # beyond a slice's and a request's own time
_MICRO: Final = 1e6


class Ended(NamedTuple):
    """How a run ended."""

    outcome: Outcome
    error: str = ""
    retry_after_s: float | None = None
    asked: bool = True  # False: the source was left alone, so this says nothing of the stream


async def ended(source: Source, name: str, run: Callable[[], Awaitable[Outcome]]) -> Ended:
    """How ``run`` of what is called ``name`` ends, within all the source's limits together.

    Only TransientError, when it is no fault of the source, and LeaseLost leave.
    """
    limit_s = (source.limits.slice_time + source.connection.request_timeout) / _MICRO if source.connection else 0.0
    try:
        async with asyncio.timeout(limit_s + _GRACE_S):
            how = Ended(await run())
    except CircuitOpen as error:
        return Ended("unavailable", str(error), error.retry_after_s, asked=False)
    except SourceUnavailable as error:
        how = Ended("unavailable", str(error), error.retry_after_s)
    except TimeoutError:
        how = Ended("unavailable", "the slice took longer than all its limits together")
    except SourceError as error:
        how = Ended("unusable", str(error))
    except (ConfigError, NotFound) as error:
        how = Ended("misconfigured", str(error))
    except (TransientError, LeaseLost):
        raise
    except Exception as error:  # one stream's surprise must not stop the others
        log.exception("%s: unexpected", name)
        how = Ended("unusable", f"unexpected {type(error).__name__}: {error}")
    if how.error:
        log.warning("%s: %s", name, how.error)
    return how

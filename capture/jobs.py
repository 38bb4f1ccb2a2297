"""Reads that the source prepares: a job is submitted and waited for, and ended when it is of no use any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from flockiq.capture.http.client import Answer, SourceClient, Tally
from flockiq.capture.protocols.page import At
from flockiq.capture.protocols.prepared import GONE, Asked, Failed, Preparation
from flockiq.shared.config.sources import Source, Stream
from flockiq.shared.errors import ConfigError, SourceError, TransientError

log = logging.getLogger("flockiq.capture")

_JSON: Final = {"content-type": "application/json"}
_MICRO: Final = 1e6


class NotReady(Exception):
    """A job has no results yet; ``pause_us`` is how long to leave it alone."""

    def __init__(self, job: str, pause_us: int) -> None:
        self.pause_us = pause_us
        super().__init__(f"job {job} has no results yet")


class JobFailed(Exception):
    """A job will never have results: it failed, was aborted by others, or took too long."""


class Results(NamedTuple):
    """Where a job's results begin, and how many records they are (-1: not told)."""

    link: str
    total: int


class Jobs:
    """The jobs of one stream."""

    def __init__(
        self, source: Source, stream: Stream, client: SourceClient, now_us: Callable[[], int], tally: Tally
    ) -> None:
        self._client = client
        self._now_us = now_us
        self._tally = tally
        self._patience_us = source.limits.longest_wait
        if stream.job is None:
            raise AssertionError("a stream without jobs")
        self._preparation = Preparation(source, stream, stream.job)

    async def submit(self, at: At, *, sample: bool = False) -> str:
        """Begin a job; its id.

        SourceUnavailable, SourceError: there may be one all the same, that nobody asks for; sources remove such.
        """
        asked = self._preparation.submission(at, sample=sample)
        job = self._preparation.submitted(await self._send(asked))
        await asyncio.sleep(min(self._preparation.pause_us(0), self._patience_us) / _MICRO)
        return job

    async def results(self, job: str, submitted_us: int) -> Results:
        """Wait for a job's results, while that is short. NotReady: come again. JobFailed, Expired: there are none."""
        preparation = self._preparation
        while True:
            answer = await self._client.get(preparation.state(job), {}, self._tally)
            told = preparation.told(answer, job)
            if isinstance(told, Failed):
                raise JobFailed(f"job {job} is {told.why}")
            if told is not None:
                url = self._client.origins.resolve(told.link, answer.url if told.from_answer else None)
                return Results(str(url), told.total)
            age_us = max(self._now_us() - submitted_us, 0)
            if preparation.given_up(age_us):
                raise JobFailed(f"job {job} has no results after {age_us / _MICRO:,.0f} s (job.give_up)")
            pause_us = preparation.pause_us(age_us)
            if pause_us > self._patience_us:
                raise NotReady(job, pause_us)
            await asyncio.sleep(pause_us / _MICRO)

    async def discard(self, job: str) -> None:
        """Remove a job that is of no use any more; one that is still running is aborted first. Never fails."""
        removal = self._preparation.delete(job)
        if await self._try(removal, f"removing job {job}"):
            return
        if await self._try(self._preparation.abort(job), f"aborting job {job}"):
            await self._try(removal, f"removing job {job}")

    async def _try(self, asked: Asked | None, what: str) -> bool:
        """Whether it was done; a job that could not be removed stays until the source removes it by itself."""
        if asked is None:
            return False
        try:
            answer = await self._send(asked)
        except (SourceError, TransientError, ConfigError) as error:
            log.warning("%s: %s did not work: %s", self._client.name, what, error)
            return False
        if not answer.ok:
            log.info("%s: %s is answered with %d", self._client.name, what, answer.status)
        return answer.ok or answer.status in GONE

    async def _send(self, asked: Asked) -> Answer:
        headers = _JSON if asked.body else {}
        return await self._client.send(asked.method, asked.link, asked.body, headers, self._tally)

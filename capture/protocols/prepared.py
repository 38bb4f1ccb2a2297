"""What is said to a source, and by it, about a job that prepares a read. Pure.

Salesforce: developer.salesforce.com, "Bulk API 2.0 Query". Others are described in the same words.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import msgspec

from flockiq.capture.http.client import Answer
from flockiq.capture.protocols.following import first_parameters
from flockiq.capture.protocols.page import At, Expired, query
from flockiq.capture.protocols.phrases import phrased, standing, window
from flockiq.capture.protocols.places import count_at, opened, steps, text_at
from flockiq.shared.config.jobs import Call, Job
from flockiq.shared.config.reading import Watermark
from flockiq.shared.config.sources import Source, Stream
from flockiq.shared.errors import SourceError

_ID: Final = re.compile(r"[A-Za-z0-9][\w:~-]{0,199}", re.ASCII)  # it becomes a part of paths
GONE: Final = frozenset({404, 410})
_LOOKS: Final = 4  # a look after each fourth of a job's age
_SAID: Final = 300


class Asked(NamedTuple):
    """A request."""

    method: str
    link: str
    body: bytes


class Ready(NamedTuple):
    """Results are there."""

    link: str  # of their first page
    from_answer: bool  # the source gave it, so it is seen from its answer
    total: int  # records; -1 if the source does not tell


class Failed(NamedTuple):
    """There will never be any."""

    why: str


class Preparation:
    """The jobs of one stream."""

    def __init__(self, source: Source, stream: Stream, job: Job) -> None:
        self._base_query = dict(source.connection.query) if source.connection else {}
        self._stream = stream
        self._job = job
        self._words = standing(stream)

    def submission(self, at: At, *, sample: bool = False) -> Asked:
        """What begins a job for a read; a ``sample`` of it if only a look is taken."""
        stream, words = self._stream, self._words
        said = dict(stream.query)
        if sample:
            said |= self._job.sample
        elif isinstance(stream.incremental, Watermark) and (span := window(stream.incremental, at)) is not None:
            said |= stream.incremental.query
            words = words | span
        body = msgspec.json.encode(_nested(phrased(said, words)))
        return Asked("POST", query(*self._place(self._job.submit)), body)

    def submitted(self, answer: Answer) -> str:
        """The id of the job that an answer tells of. SourceError if there is none."""
        if not answer.ok:
            raise SourceError(f"the source takes no job: it answers {answer.status}: {_shown(answer.body)}")
        name = text_at(opened(answer.body), steps(self._job.id))
        if not _ID.fullmatch(name):
            raise SourceError(f"the answer to a job has no id at job.id: {self._job.id}, but {name[:40]!r}")
        return name

    def state(self, job: str) -> str:
        """The link at which a job's state is told."""
        return query(*self._place(self._job.status, job))

    def told(self, answer: Answer, job: str) -> Ready | Failed | None:
        """What an answer says of a job: its results are there, never will be, or not yet. Expired: there is no job."""
        if answer.status in GONE:
            raise Expired(f"job {job} is gone: {_shown(answer.body)}")
        if not answer.ok:
            raise SourceError(f"job {job}: the source answers {answer.status}: {_shown(answer.body)}")
        body, said = opened(answer.body), self._job
        state = text_at(body, steps(said.state))
        if state in said.failed:
            why = text_at(body, steps(said.why)) if said.why else ""
            return Failed(f"{state}: {_printable(why)}" if why else state)
        if state not in said.done:
            return None
        total = count_at(body, steps(said.total)) if said.total else -1
        if said.results:
            path, parameters = self._place(said.results, job)
            return Ready(query(path, parameters | first_parameters(self._stream)), from_answer=False, total=total)
        if link := text_at(body, steps(said.results_at)):
            return Ready(link, from_answer=True, total=total)
        raise SourceError(f"job {job} is {state}, and its answer has no link at job.results_at: {said.results_at}")

    def abort(self, job: str) -> Asked | None:
        """What ends a job that is given up."""
        return self._call(self._job.abort, job)

    def delete(self, job: str) -> Asked | None:
        """What removes a job that is not needed any more."""
        return self._call(self._job.delete, job)

    def pause_us(self, age_us: int) -> int:
        """How long to wait before the next look at a job that is this old: the older it is, the longer."""
        return max(self._job.first_look, min(age_us // _LOOKS, self._job.longest_pause))

    def given_up(self, age_us: int) -> bool:
        """Whether a job took too long."""
        return age_us > self._job.give_up

    def _call(self, call: Call | None, job: str) -> Asked | None:
        if call is None:
            return None
        return Asked(
            call.method, query(*self._place(call.path, job)), msgspec.json.encode(call.body) if call.body else b""
        )

    def _place(self, path: str, job: str = "") -> tuple[str, dict[str, str]]:
        (where,) = phrased({"job": path}, self._words).values()
        return where.replace("{job}", job), self._base_query


def _nested(said: dict[str, str]) -> dict[str, Any]:
    """``{"a.b": "c"}`` as ``{"a": {"b": "c"}}``."""
    whole: dict[str, Any] = {}
    for name, value in said.items():
        *way, last = name.split(".")
        here = whole
        for step in way:
            inner = here.setdefault(step, {})
            if not isinstance(inner, dict):
                raise SourceError(f"query names {step} as a value and as an object with {last} in it")
            here = inner
        here[last] = value
    return whole


def _shown(body: bytes) -> str:
    return _printable(body[:_SAID].decode("utf-8", "replace")) or "without a reason"


def _printable(text: str) -> str:
    """A source's words as errors hold them."""
    return "".join(each if each.isprintable() else " " for each in text[:_SAID]).strip()

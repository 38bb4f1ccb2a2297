"""Every error FlockIQ raises on purpose, in one tree.

FlockIQError
├── ConfigError          a file people wrote is wrong: start refuses, with file, line and field
├── TransientError       the world said "not now": the function fails, the host delivers again
│   ├── HubUnavailable       an event stream does not take events
│   ├── StoreUnavailable     a store does not answer
│   └── SourceUnavailable    a customer's system does not answer; says when to come back
├── FenceLost            another owner wrote this partition's state: read its tail, fold again
├── Conflict             a document changed since it was read: read it again
├── LeaseLost            the lease ran out or another holds it: stop, write nothing more
├── NotFound             what was named does not exist
├── StateCorrupt         what a store kept is damaged: restore it, or replay
├── QueryError           a query that can't be run, or not within its limits
│   └── Undeclared           it was given a parameter that it does not declare; says with which line it would
├── BadRecord            one record can't be processed: it becomes a dead letter
└── SourceError          a source answered, and the answer is no use: the slice is not moved on

Each message names the thing, says what is wrong and how to get out of it.
"""

from __future__ import annotations

from dataclasses import dataclass


class FlockIQError(Exception):
    """The root: catching it catches nothing that FlockIQ did not mean to raise."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one config file, where it is and what would be right."""

    file: str
    line: int  # 1-based; 0 when the file as a whole is meant
    field: str  # dotted path, e.g. "streams.accounts.primary_key"
    wrong: str
    allowed: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        field = f" {self.field}:" if self.field else ""
        allowed = f" ({self.allowed})" if self.allowed else ""
        return f"{place}:{field} {self.wrong}{allowed}"


class ConfigError(FlockIQError):
    """Config people wrote is wrong; holds every problem found, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class TransientError(FlockIQError):
    """Trying again later may work; the only kind that may leave a function."""


class HubUnavailable(TransientError):
    """The event stream did not acknowledge; nothing may be checkpointed."""


class StoreUnavailable(TransientError):
    """A store did not answer or is throttling."""


class SourceUnavailable(TransientError):
    """A customer's system did not answer, or asked to be left alone for a while."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class FenceLost(FlockIQError):
    """The state log is longer than this owner thought: another owner has written."""


class Conflict(FlockIQError):
    """The document changed since it was read."""


class LeaseLost(FlockIQError):
    """The lease is no longer held; the fencing token is stale."""


class NotFound(FlockIQError):
    """What was named does not exist."""


class StateCorrupt(FlockIQError):
    """What a store kept does not read back as it was written; it must never be folded."""


class QueryError(FlockIQError):
    """A query is wrong, asks for what does not exist, or went over a limit; names which."""


class Undeclared(QueryError):
    """A query was given a value for a parameter that it does not declare. ``line`` declares it."""

    def __init__(self, name: str, value: object) -> None:
        kind = {int: "long", float: "real"}.get(type(value), "string")
        self.line = f"declare query_parameters({name}:{kind});"
        super().__init__(f"the query declares no parameter {name}, which it is given (begin it with: {self.line})")


class BadRecord(FlockIQError):
    """One record can't be processed; names the field and the reason, never the value of a secret."""

    def __init__(self, reason: str, *, field: str = "") -> None:
        self.field = field
        self.reason = reason
        super().__init__(f"{field}: {reason}" if field else reason)


class SourceError(FlockIQError):
    """The source answered with something unusable (bad JSON, a page too large, a loop of pages)."""

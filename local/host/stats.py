"""What the host counts while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(slots=True)
class FunctionStats:
    """One function since the host started. Every attempt of a retried invocation counts."""

    name: str
    trigger: str  # http | timer | eventHub
    invocations: int = 0
    failures: int = 0
    running: int = 0  # invocations under way
    last_error: str = ""  # of the latest failure: the exception's type and message


class PartitionStats(NamedTuple):
    """How far one function is in one partition."""

    hub: str
    partition: int
    function: str
    lag: int  # events not yet checkpointed
    handled: int  # events checkpointed since the host started

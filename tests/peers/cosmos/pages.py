"""Pages of answers to queries, in order, and the tokens that go on after them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.peers.cosmos.sql import Query

type Item = dict[str, Any]


class Answer(Exception):
    """An error the service answers with."""

    def __init__(self, status: int, code: str, message: str, sub_status: int = 0) -> None:
        self.status, self.code, self.sub_status = status, code, sub_status
        super().__init__(message)


@dataclass
class Kept:
    """A document, and how it was before its last write."""

    item: Item
    key: tuple[str, ...]
    hashed: str
    lsn: int
    before: Item | None = None


@dataclass
class Page:
    """A page of an answer to a query."""

    documents: list[Any]
    continuation: str
    charge: float


def rank(value: Any) -> tuple[int, Any]:
    """Cosmos DB's order among types: undefined and null, booleans, numbers, strings."""
    if value is None:
        return (0, 0)
    if isinstance(value, bool):
        return (1, value)
    return (2, value) if isinstance(value, int | float) else (3, str(value))


def token(last: Sequence[Any], left: int | None) -> str:
    """The continuation after a document with these order keys and resource id, with so many left of a TOP."""
    return base64.b64encode(json.dumps([list(last), left]).encode()).decode()


def resume(continuation: str, top: int | None) -> tuple[list[Any], int | None]:
    """Where a page begins, and how many are left of a TOP."""
    if not continuation:
        return [], top
    try:
        last, left = json.loads(base64.b64decode(continuation, validate=True))
    except (ValueError, binascii.Error) as error:
        raise Answer(400, "BadRequest", "the continuation token is not valid") from error
    return last, left


def after(query: Query, found: Sequence[Kept], last: Sequence[Any]) -> int:
    """How many of ``found`` come no later than where the page before ended."""
    *keys, rid = last

    def passed(kept: Kept) -> bool:
        for mine, theirs, (_, down) in zip(query.keys(kept.item), keys, query.order, strict=True):
            if rank(mine) != rank(theirs):
                return (rank(mine) < rank(theirs)) != down
        return bool(kept.item["_rid"] <= rid)

    return sum(passed(kept) for kept in found)

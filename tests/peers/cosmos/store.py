"""Containers of documents as the peer keeps them: two physical partitions each, ETags, batches, expiry, charges."""

from __future__ import annotations

import base64
import itertools
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from azure.cosmos import PartitionKey

from tests.peers.cosmos.pages import Answer, Item, Kept, Page, after, rank, resume, token
from tests.peers.cosmos.sql import UNDEFINED, Query

MAX_ITEM_BYTES: Final = 2 * 1024 * 1024
MAX_BATCH_BYTES: Final = 2 * 1024 * 1024
MAX_OPERATIONS: Final = 100
MAX_ID_BYTES: Final = 1023
MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
HALF: Final = "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"


def number(text: str) -> int | float:
    """An integer as the service keeps it: a double."""
    return int(text) if abs(int(text)) <= 2**53 else int(float(text))


class Container:
    """One container; its two physical partitions meet at ``boundary``, an effective partition key.

    With ``within``, the first components of a hierarchical key, they meet amid the documents that begin so.
    """

    def __init__(self, definition: Mapping[str, Any], within: Sequence[str] = ()) -> None:
        self.definition = definition
        self.rid = base64.b64encode(uuid.uuid4().bytes[:8]).decode().replace("/", "-")
        self._key = PartitionKey(
            path=definition["partitionKey"]["paths"]
            if definition["partitionKey"]["kind"] == "MultiHash"
            else definition["partitionKey"]["paths"][0],
            kind=definition["partitionKey"]["kind"],
        )
        self.boundary = (self.hashed(within) if within else "") + HALF
        self.scans: set[str] = set()
        """Paths that queries filtered by without an index."""
        self._ids = itertools.count()
        self._first, self._moves = 0, 0
        self._documents: dict[tuple[str, str], Kept] = {}
        self._lsn = 0
        self._later_s = 0.0
        self._included = {path["path"].removesuffix("/?") for path in definition["indexingPolicy"]["includedPaths"]}

    def hashed(self, values: Sequence[str]) -> str:
        """The effective partition key, as Microsoft's own client works it out."""
        return str(self._key._get_effective_partition_key_string(list(values)))

    @property
    def ranges(self) -> list[Mapping[str, Any]]:
        """The physical partitions."""
        parents = [[], []] if not self._moves else [[str(self._first - 2)], [str(self._first - 1)]]
        bounds = (("", self.boundary), (self.boundary, "FF"))
        return [
            {"id": str(self._first + n), "_rid": f"{self.rid}{n}", "minInclusive": low, "maxExclusive": high}
            | {"parents": parents[n], "status": "online", "throughputFraction": 0.5, "_etag": self.generation}
            for n, (low, high) in enumerate(bounds)
        ]

    @property
    def generation(self) -> str:
        """Which ranges are the current ones."""
        return f'"{self._moves}"'

    def move(self) -> None:
        """Replace the physical partitions by others, as a move or split does."""
        self._first += 2
        self._moves += 1

    def range_of(self, hashed: str) -> str:
        """The id of the physical partition of an effective partition key."""
        return str(self._first + (hashed >= self.boundary))

    def session(self, range_id: str) -> str:
        """The session token after everything so far."""
        return f"{range_id}:-1#{self._lsn}"

    def pass_time(self, seconds: float) -> None:
        """Let time pass, for what expires."""
        self._later_s += seconds

    def items(self) -> list[Item]:
        """Every document there is."""
        return [kept.item for kept in self._documents.values() if not self._expired(kept)]

    def check_key(self, key: Sequence[str], item: Item) -> None:
        """400 if a document says another partition key than the request."""
        told = [item.get(path.strip("/")) for path in self.definition["partitionKey"]["paths"]]
        if list(key) != told:
            raise Answer(400, "BadRequest", "PartitionKey extracted from document doesn't match the header", 1001)

    def read(self, key: tuple[str, ...], name: str, *, stale: bool = False) -> tuple[Item, float]:
        """A document and its charge; ``stale`` as a replica that lags may have it."""
        kept = self._find(key, name)
        if kept is None:
            raise Answer(404, "NotFound", f"Entity with the specified id does not exist: {name}")
        item = kept.before if stale and kept.before is not None else kept.item
        return item, _kilobytes(item)

    def write(
        self, operation: str, key: tuple[str, ...], name: str, item: Item, if_match: str = ""
    ) -> tuple[Item, float]:
        """Create, replace, upsert or delete; gives what is kept and the charge."""
        kept = self._find(key, name)
        if operation == "Create" and kept is not None:
            raise Answer(409, "Conflict", "Entity with the specified id already exists in the system.")
        if operation in ("Replace", "Delete") and kept is None:
            raise Answer(404, "NotFound", f"Entity with the specified id does not exist: {name}")
        if if_match and (kept is None or kept.item["_etag"] != if_match):
            raise Answer(412, "PreconditionFailed", "One of the specified pre-condition is not met")
        if operation == "Delete":
            del self._documents[self.hashed(key), name]
            return {}, 6.0
        self.check_key(key, item)
        self._check_item(name, item)
        self._lsn += 1
        rid = kept.item["_rid"] if kept else f"{self.rid}{next(self._ids):012}"
        told = {name: value for name, value in item.items() if name not in ("_rid", "_self", "_etag", "_ts")}
        whole = told | {
            "_rid": rid,
            "_self": f"dbs/ZGI=/colls/{self.rid}/docs/{rid}/",
            "_etag": f'"{uuid.uuid4()}"',
            "_ts": int(self._now()),
        }
        hashed = self.hashed(key)
        self._documents[hashed, name] = Kept(whole, key, hashed, self._lsn, kept.item if kept else None)
        indexed = sum(f"/{name}" in self._included or "" in self._included for name in whole)
        return whole, (10.0 if kept else 5.0) * _kilobytes(whole) + 0.5 * indexed

    def batch(self, key: tuple[str, ...], operations: Sequence[Mapping[str, Any]]) -> tuple[list[Item], bool]:
        """Every operation's result, and whether all were done; else none was."""
        before: dict[tuple[str, str], Kept | None] = {}
        results: list[Item] = []
        for at, operation in enumerate(operations):
            body = operation.get("resourceBody") or {}
            name = str(operation.get("id") or body.get("id", ""))
            before.setdefault((self.hashed(key), name), self._find(key, name))
            try:
                item, charge = self.write(
                    str(operation["operationType"]), key, name, body, operation.get("ifMatch", "")
                )
            except Answer as answer:
                self._undo(before)
                failed = {"statusCode": answer.status, "subStatusCode": answer.sub_status, "requestCharge": 1.0}
                return [_UNDONE] * at + [failed] + [_UNDONE] * (len(operations) - at - 1), False
            status = 201 if operation["operationType"] == "Create" else 200
            results.append(
                {"statusCode": status, "requestCharge": charge, "eTag": item.get("_etag"), "resourceBody": item}
            )
        return results, True

    def _undo(self, before: Mapping[tuple[str, str], Kept | None]) -> None:
        for place, kept in before.items():
            self._documents.pop(place, None)
            if kept is not None:
                self._documents[place] = kept

    def query(
        self,
        query: Query,
        low: str,
        high: str,
        key: tuple[str, ...],
        size: int,
        continuation: str,
        *,
        short: bool = False,
    ) -> Page:
        """A page of what matches with low <= effective partition key < high; ``short``: an empty one if it can be."""
        self._check_indexes(query)
        found = [
            kept
            for kept in self._documents.values()
            if not self._expired(kept)
            and low <= kept.hashed < high
            and kept.key[: len(key)] == key
            and query.matches(kept.item)
        ]
        charge = 2.5 + 0.03 * len(found)
        if query.aggregates:
            return Page([len(found)], "", charge)
        place, left = resume(continuation, query.top)
        found.sort(key=lambda kept: kept.item["_rid"])
        for (_, down), at in reversed(list(zip(query.order, range(len(query.order)), strict=True))):
            found.sort(key=lambda kept, at=at: rank(query.keys(kept.item)[at]), reverse=down)
        if place:
            found = found[after(query, found, place) :]
        if left is not None:
            found = found[:left]
        if query.distinct:
            seen = {json.dumps(value, sort_keys=True): value for value in (query.project(kept.item) for kept in found)}
            return Page(list(seen.values()), "", charge)
        if short and found:
            return Page([], token([], left), charge) if not place else Page([], continuation, charge)
        page: list[Kept] = []
        held = 0
        for kept in found[:size]:
            held += len(json.dumps(kept.item))
            if page and held > MAX_PAGE_BYTES:
                break
            page.append(kept)
        more = len(page) < len(found)
        last = [*query.keys(page[-1].item), page[-1].item["_rid"]] if page else []
        going_on = token(last, None if left is None else left - len(page)) if more else ""
        given = [value for value in (query.project(kept.item) for kept in page) if value is not UNDEFINED]
        return Page(given, going_on, charge)

    def _find(self, key: tuple[str, ...], name: str) -> Kept | None:
        kept = self._documents.get((self.hashed(key), name))
        if kept is not None and self._expired(kept):
            del self._documents[kept.hashed, name]
            return None
        return kept

    def _expired(self, kept: Kept) -> bool:
        default = self.definition.get("defaultTtl")
        ttl = kept.item.get("ttl", default) if default is not None else None
        return ttl is not None and ttl != -1 and self._now() >= kept.item["_ts"] + ttl

    def _now(self) -> float:
        return time.time() + self._later_s

    def _check_item(self, name: str, item: Item) -> None:
        if len(json.dumps(item, ensure_ascii=False).encode()) > MAX_ITEM_BYTES:
            raise Answer(413, "RequestEntityTooLarge", "Request size is too large")
        bad = not name or any(character in name for character in "/\\?#") or len(name.encode()) > MAX_ID_BYTES
        if bad or item.get("id") != name or name != name.rstrip():
            raise Answer(400, "BadRequest", f"the id is not valid: {name!r}")

    def _check_indexes(self, query: Query) -> None:
        indexed = {*self._included, "/id", "/_ts", "/_rid"}
        if "/*" in indexed:
            return
        unsorted = {"/" + "/".join(path) for path, _ in query.order} - indexed
        if unsorted or len(query.order) > 1:
            raise Answer(400, "BadRequest", f"the order by query has no index to be served from: {unsorted}")
        self.scans |= query.filtered - indexed


_UNDONE: Final = {"statusCode": 424, "subStatusCode": 0, "requestCharge": 0.0}


def _kilobytes(item: Item) -> float:
    return max(1.0, len(json.dumps(item, ensure_ascii=False).encode()) / 1024)

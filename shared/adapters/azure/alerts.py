"""Alerts and their history in Cosmos DB: one transactional batch for what happens to one entity at a time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from itertools import batched
from typing import Any, Final

from azure.cosmos.aio import ContainerProxy
from azure.cosmos.exceptions import CosmosBatchOperationError, CosmosResourceNotFoundError

from flockiq.shared import alerts as life
from flockiq.shared.adapters.azure import alert_documents as documents
from flockiq.shared.adapters.azure.alert_documents import Plan, Stored, entity_of
from flockiq.shared.adapters.azure.cosmos import Cosmos, Note, name_id
from flockiq.shared.alerts import Alert, AlertPage, AlertQuery, AlertTransition, HistoryEntry
from flockiq.shared.errors import NotFound, StoreUnavailable

CONTAINER: Final = "alerts"
AT_ONCE: Final = 8
"""Requests of one store at a time: each takes milliseconds of this process's own time."""

TURNS: Final = 30
"""How often an alert is read again because another wrote it meanwhile."""

_IDS_A_QUERY: Final = 100
_POINT_READS: Final = 1  # one document is a request unit; a query of a few some three, but one request
RESTORED: Final = 4
"""Documents in one batch when alerts are restored: each may be as large as a transition may be."""

_GONE: Final = 404
_CONFLICTS: Final = frozenset({404, 409, 412})

_FIND = "SELECT * FROM c WHERE c.tenant = @tenant AND c.id = @id AND IS_DEFINED(c.place)"
_HISTORY = "SELECT c.n, c.body FROM c WHERE c.tenant = @tenant AND c.of = @id"
_KINDS = "SELECT DISTINCT c.rule, c.status FROM c WHERE c.tenant = @tenant AND IS_DEFINED(c.place)"
_ENTRIES = "SELECT c.id, c.n FROM c WHERE c.tenant = @tenant AND c.of = @id"
_NAMES = "SELECT c.id, c.of FROM c WHERE c.tenant = @tenant"
_COUNT = "SELECT VALUE COUNT(1) FROM c WHERE c.tenant = @tenant AND c.rule = @rule AND c.status = @status"


class CosmosAlerts:
    """AlertStore over a database's container ``alerts``.

    A call is applied entity by entity, each in batches of at most 100 documents; one that fails has applied
    some of it, and is told again.
    """

    lingers = "the account's continuous backup keeps 7 days, as infra/ deploys it"

    def __init__(self, cosmos: Cosmos) -> None:
        self._cosmos = cosmos
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def apply(self, tenant: str, transitions: Sequence[AlertTransition]) -> int:
        """See ``AlertStore.apply``. StoreUnavailable: some may have been applied; tell all again."""
        changed = 0
        for wave in documents.waves(transitions):
            changed += sum(await self._all(self._tell(tenant, entity, steps) for entity, steps in wave.items()))
        return changed

    async def act(self, tenant: str, alert_id: str, action: str, by: str, at_us: int) -> Alert:
        """See ``AlertStore.act``; an action that changes nothing leaves no history."""
        for turn in range(TURNS):
            found = await self._known(tenant, alert_id, "alerts.act")
            changed = life.act(found.alert, action, by, at_us)
            if changed is None:
                return found.alert
            entry = HistoryEntry(at_us=at_us, by=by, change=action, status=changed.status, reason="")
            plan = documents.acted(tenant, found, changed, entry)
            entity = entity_of(changed.subject)
            if await self._commit(tenant, entity, plan, "alerts.act") is not None:
                return changed
            if await self._done(tenant, entity, plan, "alerts.act"):
                return changed
            await _step_aside(turn)
        raise _contended(alert_id)

    async def get(self, tenant: str, alert_id: str) -> Alert:
        """See ``AlertStore.get``."""
        return (await self._known(tenant, alert_id, "alerts.get")).alert

    async def query(self, tenant: str, query: AlertQuery) -> AlertPage:
        """See ``AlertStore.query``; a page holds at most ``life.MAX_PAGE``. BadRecord for a continuation of no page.

        Continuations are places among the alerts, not the service's own tokens: those hold for one physical
        partition, and a tenant may span several. So each gives its newest, and the newest of all are kept.
        """
        limit = min(max(query.limit, 1), life.MAX_PAGE)
        text, parameters = _question(tenant, query, limit + 1)
        key = [tenant, entity_of(query.subject)] if query.subject else [tenant]
        found = await self._cosmos.ask("alerts.query", CONTAINER, text, parameters, key)
        found.sort(key=lambda item: str(item["place"]), reverse=True)
        alerts = [documents.alert(item) for item in found[:limit]]
        return AlertPage(alerts, life.continuation(alerts[-1]) if len(found) > limit else "")

    async def history(self, tenant: str, alert_id: str) -> Sequence[HistoryEntry]:
        """See ``AlertStore.history``; [] if unknown."""
        parameters = {"tenant": tenant, "id": alert_id}
        return documents.history(await self._cosmos.ask("alerts.history", CONTAINER, _HISTORY, parameters, [tenant]))

    async def counts(self, tenant: str) -> Mapping[str, Mapping[str, int]]:
        """See ``AlertStore.counts``; GROUP BY is not for queries of more than one partition."""
        kinds = await self._cosmos.ask("alerts.counts", CONTAINER, _KINDS, {"tenant": tenant}, [tenant])
        pairs = sorted({(str(kind["rule"]), str(kind["status"])) for kind in kinds})
        counted = await self._all(self._count(tenant, rule, status) for rule, status in pairs)
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        for (rule, status), number in zip(pairs, counted, strict=True):
            if number:
                counts[rule][status] = number
        return dict(counts)

    async def restore(self, tenant: str, alert: Alert, history: Sequence[HistoryEntry]) -> None:
        """See ``AlertStore.restore``; the alert is written last, so that one that is there is whole."""
        entity = entity_of(alert.subject)
        about = {"tenant": tenant, "id": alert.id}
        found = await self._cosmos.ask("alerts.restore", CONTAINER, _ENTRIES, about, [tenant, entity])
        beyond = [("delete", (str(item["id"]),)) for item in found if int(item["n"]) >= len(history)]
        operations = [*beyond, *documents.restored(tenant, alert, history)]
        for some in batched(operations, RESTORED, strict=False):
            await self._do("alerts.restore", [tenant, entity], some)

    async def forget(self, tenant: str, subject: str) -> int:
        """See ``AlertStore.forget``: all documents of what it is about. Histories go first, so it can be done again."""
        key = [tenant, entity_of(subject)]
        found = await self._cosmos.ask("alerts.forget", CONTAINER, _NAMES, {"tenant": tenant}, key)
        entries = [str(item["id"]) for item in found if "of" in item]
        alerts = [str(item["id"]) for item in found if "of" not in item]
        for some in batched([*entries, *alerts], documents.MAX_OPERATIONS, strict=False):
            await self._do("alerts.forget", key, [("delete", (name,)) for name in some])
        return len(alerts)

    async def close(self) -> None:
        """See ``AlertStore.close``."""
        await self._cosmos.close()

    async def _count(self, tenant: str, rule: str, status: str) -> int:
        parameters = {"tenant": tenant, "rule": rule, "status": status}
        return sum(await self._cosmos.ask("alerts.counts", CONTAINER, _COUNT, parameters, [tenant]))

    async def _tell(self, tenant: str, entity: str, steps: Sequence[AlertTransition]) -> int:
        """Apply one entity's transitions in order; how many changed something."""
        at, changed, turn = 0, 0, 0
        # What begins with an alert's first revision is most often new: reading could only say so.
        first: dict[str, AlertTransition] = {}
        for step in steps:
            first.setdefault(step.id, step)
        known: dict[str, Stored | None] = {name: None for name, step in first.items() if step.revision == 1}
        while at < len(steps):
            left = steps[at:]
            known |= await self._read(tenant, entity, {step.id for step in left} - known.keys())
            known |= await self._replaced(tenant, entity, {step.replaces for step in left} - {"", *known})
            plan = documents.plan(tenant, entity, steps, at, known)
            if not plan.operations:
                at = plan.end
                continue
            etags = await self._commit(tenant, entity, plan, "alerts.apply")
            if etags is not None:
                known |= {one.alert.id: one._replace(etag=etag) for one, etag in zip(plan.after, etags, strict=False)}
            elif await self._done(tenant, entity, plan, "alerts.apply"):
                known = {}
            else:
                # Another wrote first. What was worked out rests on what is no longer so: read, and work it out again.
                known = {}
                turn += 1
                if turn >= TURNS:
                    raise _contended(steps[at].id)
                await _step_aside(turn)
                continue
            at, changed = plan.end, changed + plan.changed
        return changed

    async def _do(self, operation: str, key: list[str], operations: Sequence[tuple[Any, ...]]) -> None:
        """Write or delete documents of one partition as they are; one whose answer was lost is found done."""

        async def write(proxy: ContainerProxy, note: Note) -> None:
            try:
                await proxy.execute_item_batch(list(operations), key, response_hook=note)
            except CosmosBatchOperationError as error:
                if error.status_code != _GONE:
                    raise
                note(error.headers)
                for one in operations:  # some are deleted already: each for itself
                    with contextlib.suppress(CosmosResourceNotFoundError):
                        if one[0] == "delete":
                            await proxy.delete_item(one[1][0], key, response_hook=note)
                        else:
                            await proxy.upsert_item(one[1][0], response_hook=note)

        await self._cosmos.do(operation, CONTAINER, write)

    async def _commit(self, tenant: str, entity: str, plan: Plan, operation: str) -> list[str] | None:
        """Write a batch whole; each operation's etag, or None if something is not as it was read."""

        async def write(proxy: ContainerProxy, note: Note) -> list[str] | None:
            try:
                results = await proxy.execute_item_batch(list(plan.operations), [tenant, entity], response_hook=note)
            except CosmosBatchOperationError as error:
                if error.status_code not in _CONFLICTS:
                    raise
                note(error.headers)
                return None
            return [str(result.get("eTag", "")) for result in results]

        return await self._cosmos.do(operation, CONTAINER, write)

    async def _done(self, tenant: str, entity: str, plan: Plan, operation: str) -> bool:
        """Whether a batch that met a conflict met itself: it was written, and its answer lost."""
        item = await self._cosmos.read(operation, CONTAINER, plan.first_entry, [tenant, entity])
        return item is not None and item.get("write") == plan.stamp

    async def _read(self, tenant: str, entity: str, ids: Collection[str]) -> dict[str, Stored | None]:
        """One entity's alerts of these ids as they stand, None for those that are not there."""
        found: dict[str, Stored | None] = dict.fromkeys(ids)
        if len(ids) <= _POINT_READS:
            for alert_id in ids:
                item = await self._cosmos.read("alerts.apply", CONTAINER, name_id(alert_id), [tenant, entity])
                found[alert_id] = documents.stored(item) if item is not None else None
            return found
        for some in batched(sorted(ids), _IDS_A_QUERY, strict=False):
            names = {f"id{number}": name_id(alert_id) for number, alert_id in enumerate(some)}
            text = f"SELECT * FROM c WHERE c.tenant = @tenant AND c.id IN ({', '.join(f'@{name}' for name in names)})"  # noqa: S608 - placeholders
            asked = await self._cosmos.ask(
                "alerts.apply", CONTAINER, text, {"tenant": tenant, **names}, [tenant, entity]
            )
            found |= {one.alert.id: one for one in map(documents.stored, asked)}
        return found

    async def _replaced(self, tenant: str, entity: str, ids: Collection[str]) -> dict[str, Stored | None]:
        """Alerts that others stand for: of the same entity as a rule, else of any of the tenant's."""
        found = await self._read(tenant, entity, ids)
        for alert_id in [name for name, one in found.items() if one is None]:
            found[alert_id] = await self._find(tenant, alert_id, "alerts.apply")
        return found

    async def _find(self, tenant: str, alert_id: str, operation: str) -> Stored | None:
        """An alert by its id alone; None if there is none."""
        parameters = {"tenant": tenant, "id": name_id(alert_id)}
        found = await self._cosmos.ask(operation, CONTAINER, _FIND, parameters, [tenant])
        return documents.stored(found[0]) if found else None

    async def _known(self, tenant: str, alert_id: str, operation: str) -> Stored:
        found = await self._find(tenant, alert_id, operation)
        if found is None:
            raise NotFound(f"there is no alert {alert_id!r} in tenant {tenant!r}")
        return found

    async def _all[T](self, work: Iterable[Awaitable[T]]) -> list[T]:
        """What all of it gives, some at a time; if one fails, its error once all have ended."""

        async def one(some: Awaitable[T]) -> T:
            async with self._at_once:
                return await some

        outcomes = await asyncio.gather(*map(one, work), return_exceptions=True)
        given: list[T] = []
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            given.append(outcome)
        return given


def _question(tenant: str, query: AlertQuery, top: int) -> tuple[str, Mapping[str, object]]:
    """The SELECT for a page; only constant text and placeholders. What has no place is history, and never less."""
    conditions = ["c.tenant = @tenant", "c.place < @after"]
    after = documents.place(*life.place(query.continuation)) if query.continuation else documents.AFTER_ALL
    parameters: dict[str, object] = {"top": top, "tenant": tenant, "after": after}
    if query.statuses:
        names = {f"status{number}": status for number, status in enumerate(query.statuses)}
        conditions.append(f"c.status IN ({', '.join(f'@{name}' for name in names)})")
        parameters |= names
    if query.rule:
        conditions.append("c.rule = @rule")
        parameters["rule"] = query.rule
    if query.subject:
        conditions.append("c.entity = @entity")
        parameters["entity"] = entity_of(query.subject)
    if query.lasting:
        conditions.append("c.lasting = true")
    where = " AND ".join(conditions)
    return f"SELECT TOP @top c.place, c.body FROM c WHERE {where} ORDER BY c.place DESC", parameters  # noqa: S608 - see above


async def _step_aside(turn: int) -> None:
    """Let whoever wrote meanwhile go on: a random part of up to a tenth of a second, more at each turn."""
    await asyncio.sleep(random.uniform(0, min(0.005 * 2**turn, 0.1)))  # noqa: S311 - spreads turns


def _contended(alert_id: str) -> StoreUnavailable:
    return StoreUnavailable(f"alert {alert_id!r} was written by another {TURNS} times while it was read: try later")

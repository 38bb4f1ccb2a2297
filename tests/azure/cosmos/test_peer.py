"""The peer behaves as Cosmos DB does, seen through Microsoft's SDK as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.cosmos.aio import ContainerProxy, CosmosClient
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosBatchOperationError,
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)

from tests.peers.cosmos import sql
from tests.peers.cosmos.peer import CosmosDB
from tests.peers.cosmos.signatures import KEY

KEY_OF = ["t", "e"]


@pytest.fixture
async def client(peer: CosmosDB) -> AsyncIterator[CosmosClient]:
    """The SDK's client, with all its own ways."""
    async with CosmosClient(peer.endpoint, KEY, retry_throttle_total=1) as client:
        yield client


@pytest.fixture
def container(client: CosmosClient) -> ContainerProxy:
    """The container with a hierarchical partition key."""
    return client.get_database_client("flockiq").get_container_client("alerts")


def item(name: str, **more: Any) -> dict[str, Any]:
    """A document of one partition."""
    return {"id": name, "tenant": "t", "entity": "e", **more}


async def ask(container: ContainerProxy, text: str, key: list[str] | None, size: int = 100, **given: Any) -> list[Any]:
    """What a query finds, in pages of ``size``."""
    parameters = [{"name": f"@{name}", "value": value} for name, value in given.items()]
    where: dict[str, Any] = {} if key is None else {"partition_key": key}
    return [found async for found in container.query_items(text, parameters=parameters, max_item_count=size, **where)]


async def test_documents_are_made_read_replaced_and_removed_by_etag(container: ContainerProxy) -> None:
    """With the status the service has for each way of not being so."""
    made = await container.create_item(item("a", n=1))
    with pytest.raises(CosmosResourceExistsError):
        await container.create_item(item("a"))
    replaced = await container.replace_item(
        "a", item("a", n=2), etag=made["_etag"], match_condition=MatchConditions.IfNotModified
    )
    assert replaced["_etag"] != made["_etag"]
    with pytest.raises(CosmosAccessConditionFailedError):
        await container.replace_item("a", item("a"), etag=made["_etag"], match_condition=MatchConditions.IfNotModified)
    assert (await container.read_item("a", KEY_OF))["n"] == 2
    with pytest.raises(CosmosResourceNotFoundError):
        await container.read_item("a", ["t", "other"])
    await container.delete_item("a", KEY_OF)
    with pytest.raises(CosmosResourceNotFoundError):
        await container.replace_item("a", item("a"))


async def test_a_batch_is_done_whole_or_not_at_all(container: ContainerProxy, peer: CosmosDB) -> None:
    """The one to blame has its status, the others 424; what was replaced is as it was."""
    await container.create_item(item("a", n=1))
    with pytest.raises(CosmosBatchOperationError) as raised:
        await container.execute_item_batch(
            [
                ("replace", ("a", item("a", n=2))),
                ("create", (item("b"),)),
                ("replace", ("a", item("a", n=3)), {"if_match_etag": "stale"}),
                ("create", (item("c"),)),
            ],
            KEY_OF,
        )
    assert [result["statusCode"] for result in raised.value.operation_responses] == [424, 424, 412, 424]
    assert [(kept["id"], kept["n"]) for kept in peer.documents("alerts")] == [("a", 1)]


async def test_a_batch_has_its_limits(container: ContainerProxy) -> None:
    """100 operations of one partition key, and 2 MB."""
    with pytest.raises(CosmosHttpResponseError, match="101 operations"):
        await container.execute_item_batch([("create", (item(f"a{n}"),)) for n in range(101)], KEY_OF)
    with pytest.raises(CosmosBatchOperationError) as raised:
        await container.execute_item_batch([("create", (item("a") | {"entity": "f"},))], KEY_OF)
    assert raised.value.status_code == 400


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_document_has_its_limits(container: ContainerProxy) -> None:
    """2 MB, an id that fits a URL, and numbers as doubles."""
    with pytest.raises(CosmosHttpResponseError) as raised:
        await container.create_item(item("large", text="x" * (2 * 1024 * 1024)))
    assert raised.value.status_code == 413
    with pytest.raises(CosmosBatchOperationError) as refused:
        await container.execute_item_batch([("create", (item("a/b"),))], KEY_OF)
    assert refused.value.status_code == 400
    await container.create_item(item("n", n=2**53 + 1))
    assert (await container.read_item("n", KEY_OF))["n"] == 2**53


async def test_a_query_of_a_key_s_beginning_comes_one_physical_partition_after_another(
    container: ContainerProxy, peer: CosmosDB
) -> None:
    """The SDK appends them: ORDER BY and TOP hold within each alone, which the adapter must know."""
    entities = [f"e{n}" for n in range(12)]
    for n, entity in enumerate(entities):
        await container.create_item({"id": f"a{n}", "tenant": "t", "entity": entity, "place": f"{n:02}"})
    parts = peer.partitions_of("alerts", *(("t", entity) for entity in entities))
    assert set(parts) == {0, 1}
    text = "SELECT TOP @top c.place FROM c WHERE c.place < @after ORDER BY c.place"
    found = [each["place"] for each in await ask(container, text, ["t"], size=2, top=3, after="~")]
    expected = [[f"{n:02}" for n in range(12) if parts[n] == part][:3] for part in (0, 1)]
    assert found == [*expected[0], *expected[1]]
    assert found != sorted(found)
    assert await ask(container, "SELECT VALUE COUNT(1) FROM c WHERE c.tenant = @t", ["t"], t="t") == [12]
    assert await ask(container, "SELECT VALUE COUNT(1) FROM c WHERE c.tenant = @t", ["u"], t="u") == [0]


async def test_a_query_across_partitions_is_merged_by_its_plan(client: CosmosClient, peer: CosmosDB) -> None:
    """In pages of any size, and while physical partitions move."""
    container = client.get_database_client("flockiq").get_container_client("documents")
    for n in range(20):
        await container.create_item({"id": f"d{n}", "part": f"p{n}", "key": f"k{n:02}"})
    for size in (1, 3, 100):
        peer.faults.plan("moved")
        peer.faults.plan("short")
        found = await ask(
            container, "SELECT * FROM c WHERE STARTSWITH(c.key, @p) ORDER BY c.key DESC", None, size, p="k"
        )
        assert [each["key"] for each in found] == [f"k{n:02}" for n in reversed(range(20))]
    assert peer.faults.injected == {"moved": 3, "short": 3}


async def test_what_has_no_index_is_not_sorted_by_and_its_filtering_is_noted(
    container: ContainerProxy, peer: CosmosDB
) -> None:
    """As an indexing policy has it."""
    await container.create_item(item("a", body="x"))
    assert await ask(container, "SELECT c.id FROM c WHERE c.body = 'x'", KEY_OF) == [{"id": "a"}]
    assert peer.scans == {"alerts/body"}
    with pytest.raises(CosmosHttpResponseError, match="order by"):
        await ask(container, "SELECT * FROM c ORDER BY c.body", KEY_OF)


@pytest.mark.parametrize("text", ["SELECT", "SELECT * FROM c JOIN d", "SELECT SUM(c.n) FROM c WHERE UPPER(c.x) = 'X'"])
async def test_what_is_not_modelled_is_refused(container: ContainerProxy, text: str) -> None:
    """Rather than answered as if it were something else."""
    await container.create_item(item("a", n=1))
    with pytest.raises(CosmosHttpResponseError, match="not modelled"):
        await ask(container, text, KEY_OF)


async def test_documents_expire(client: CosmosClient, peer: CosmosDB) -> None:
    """Where their container lets them, after as many seconds as they say."""
    leases = client.get_database_client("flockiq").get_container_client("leases")
    await leases.create_item({"id": "a", "ttl": 60})
    await leases.create_item({"id": "b"})
    peer.pass_time(61)
    assert [kept["id"] for kept in peer.documents("leases")] == ["b"]
    with pytest.raises(CosmosResourceNotFoundError):
        await leases.read_item("a", "a")


@pytest.mark.parametrize(
    ("condition", "true"),
    [
        ("c.n = 1 AND c.s = 'x'", True),
        ("c.n = 2 OR c.s = 'x'", True),
        ("NOT c.n = 2", True),
        ("c.n = '1'", False),
        ("c.missing < 5", False),
        ("NOT c.missing < 5", False),
        ("c.missing != 5", False),
        ("IS_DEFINED(c.s) AND NOT IS_DEFINED(c.missing)", True),
        ("c.n IN (3, 2, 1)", True),
        ("c.s IN ('y')", False),
        ("STARTSWITH(c.s, 'x') AND c.b = true AND c.z = null", True),
        ("STARTSWITH(c.n, 'x')", False),
        ("(c.n > 0 AND c.n <= 1) AND c.deep.er >= 2.5", True),
    ],
)
def test_conditions_are_true_as_the_service_has_them(condition: str, true: bool) -> None:  # noqa: FBT001 - a table
    """What is undefined makes nothing true, and types are not mixed."""
    document = {"n": 1, "s": "x", "b": True, "z": None, "deep": {"er": 2.5}}
    assert sql.parse(f"SELECT * FROM c WHERE {condition}").matches(document) is true  # noqa: S608 - of this file

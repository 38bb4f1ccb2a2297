"""Queries against the Eventhouse: what they may be, how they are answered, who asks."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from azure.kusto.data._cloud_settings import CloudSettings

from flockiq.shared.adapters.azure.kusto.analytics import KustoAnalytics
from flockiq.shared.adapters.azure.kusto.answers import instant
from flockiq.shared.adapters.azure.kusto.cluster import Cluster
from flockiq.shared.adapters.embedded.blobs import FolderBlobs
from flockiq.shared.errors import ConfigError, QueryError, StoreUnavailable
from tests.azure.identities import Identity, find_here, trust
from tests.azure.kusto.conftest import Opens, nobody, rows
from tests.peers.certificates import Authority
from tests.peers.kusto.peer import HOST, Eventhouse

MEND = ("throttled", "unavailable", "dropped", "unanswered", "slow", "expired", "strange")
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # the SDK's own
QUERIES = sorted((Path(__file__).resolve().parents[3] / "eventhouse" / "queries").glob("*.kql"))
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in QUERIES}
DECLARED = re.compile(r"(\w+)\s*:\s*(string|long|int|real|datetime|timespan|bool)")


@pytest.mark.parametrize("kind", MEND)
async def test_a_query_is_answered_whatever_happens(kind: str, opens: Opens, peer: Eventhouse) -> None:
    """It only reads, so it is asked again."""
    analytics = opens(try_s=1.0 if kind == "slow" else 5.0, within_s=15.0)
    peer.faults.plan(kind, where="query", times=1 if kind == "slow" else 2)
    assert (await analytics.query("print x = 1")).rows == [[1]]
    assert peer.asked["query"] > 1


async def test_a_query_that_fails_half_way_gives_nothing(opens: Opens, peer: Eventhouse) -> None:
    """Though its first rows came."""
    peer.faults.plan("half")
    with pytest.raises(QueryError, match="exceeded"):
        await opens().query("Deltas")


async def test_a_wrong_query_is_not_asked_twice(opens: Opens, peer: Eventhouse) -> None:
    """The service's own words say what is wrong with it."""
    with pytest.raises(QueryError, match="Filed"):
        await opens().query("Deltas | where Filed == 1")
    assert peer.asked["query"] == 1


async def test_a_query_may_only_read_the_tables(opens: Opens, peer: Eventhouse) -> None:
    """The service is told so each time, with how long it may take and how much it may answer."""
    await opens().query("print 1")
    (options,) = peer.options
    wanted = ("readonly", "external_data_disabled", "external_table_disabled", "callout_disabled")
    assert all(options[f"request_{name}"] is True for name in wanted)
    assert options["servertimeout"] == "0:00:30"
    assert options["truncationmaxrecords"] == 500_000


async def test_a_value_that_is_no_literal_of_its_type_is_refused(opens: Opens, peer: Eventhouse) -> None:
    """It is not sent: what is no text the service would read as KQL."""
    kql = "declare query_parameters(since:datetime); print since"
    assert (await opens().query(kql, {"since": "2026-01-02"})).rows == [["2026-01-02T00:00:00.000000Z"]]
    peer.asked.clear()
    for hostile in ("now()); Deltas //", "", "x" * 100):
        with pytest.raises(QueryError, match="datetime"):
            await opens().query(kql, {"since": hostile})
    assert peer.asked["query"] == 0


async def test_a_service_that_is_away_is_said_in_time(opens: Opens, peer: Eventhouse) -> None:
    """With what to look at."""
    peer.faults.plan("dropped", times=1000)
    with pytest.raises(StoreUnavailable, match="did not answer"):
        await opens().query("print 1")
    peer.faults.clear()
    peer.faults.plan("strange", times=1000)
    with pytest.raises(StoreUnavailable, match="Kusto__queryUri"):
        await opens().query("print 1")


@pytest.mark.parametrize("name", TEXTS)
async def test_the_page_s_queries_run(name: str, opens: Opens) -> None:
    """As they stand in eventhouse/queries."""
    values: dict[str, str | int | float] = {"long": 5, "real": 0.5, "datetime": "2026-01-02T03:04:05Z"}
    declaration = TEXTS[name].partition(");")[0] if "query_parameters" in TEXTS[name] else ""
    given = {word: values.get(kind, "t") for word, kind in DECLARED.findall(declaration)}
    assert (await opens().query(TEXTS[name], given)).columns


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05.100000Z"),
        ("2026-01-02T03:04:05.1234567Z", "2026-01-02T03:04:05.123456Z"),
        (None, None),
        ("soon", "soon"),
    ],
)
def test_instants_have_microseconds(written: object, meant: object) -> None:
    """However many digits the service writes."""
    assert instant(written) == meant


@pytest.mark.parametrize("uri", ["", "http://flockiq.westeurope.kusto.windows.net", "flockiq", "ftp://127.0.0.1"])
async def test_settings_name_an_eventhouse_over_https_or_an_emulator_here(uri: str, blobs: FolderBlobs) -> None:
    """Anything else is refused before anyone is asked."""
    analytics = KustoAnalytics(Cluster({"Kusto__queryUri": uri}, nobody), blobs)
    with pytest.raises(ConfigError, match="Kusto__queryUri"):
        await analytics.query("print 1")
    await analytics.close()


async def test_what_is_closed_says_so(opens: Opens) -> None:
    """Instead of opening connections that nobody closes."""
    analytics = opens()
    await analytics.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await analytics.query("print 1")


class Account:
    """A database over TLS, and what opens it as an identity."""

    def __init__(self, peer: Eventhouse, blobs: FolderBlobs) -> None:
        self.peer, self._blobs = peer, blobs
        self.opened: list[KustoAnalytics] = []

    def opens(self, identity: Identity, **given: float) -> KustoAnalytics:
        """As ``identity``."""
        self.opened.append(KustoAnalytics(Cluster(self.peer.environment, lambda: identity, **given), self._blobs))
        return self.opened[-1]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Eventhouse]:
    """A database over TLS that lets one identity in, and that this process finds and trusts."""
    authority = Authority(tmp_path)
    trust(authority, monkeypatch)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    CloudSettings._cloud_cache.clear()
    with Eventhouse(tokens=["good"], certificate=authority.serving([HOST, f"ingest-{HOST}"])) as peer:
        find_here(HOST, monkeypatch, port=peer.port)
        find_here(f"ingest-{HOST}", monkeypatch, port=peer.port)
        yield peer


@pytest.fixture
async def account(served: Eventhouse, blobs: FolderBlobs) -> AsyncIterator[Account]:
    """It."""
    account = Account(served, blobs)
    yield account
    for analytics in account.opened:
        await analytics.close()


@pytest.mark.usefixtures("queue")
async def test_an_identity_is_let_in_everywhere(account: Account) -> None:
    """Queries, streaming and queued ingestion are one identity's, with a token for the Eventhouse."""
    identity = Identity("good")
    analytics = account.opens(identity)
    await analytics.ingest("Deltas", rows(0, 3))
    assert (await analytics.query("Deltas | count")).rows == [[3]]
    await analytics.ingest("Deltas", rows(3, 40, New="x" * 100_000))
    until = time.monotonic() + 10.0
    while account.peer.rows("Deltas | count") != [[43]]:
        assert time.monotonic() < until
        await asyncio.sleep(0.05)
    assert identity.scopes == {"https://kusto.kusto.windows.net/.default"}


async def test_an_identity_that_is_not_let_in_is_said_so(account: Account) -> None:
    """In time."""
    with pytest.raises(StoreUnavailable, match="401"):
        await account.opens(Identity("stranger"), within_s=0.3).query("print 1")


async def test_an_identity_without_a_token_is_said_so_at_once(account: Account) -> None:
    """With what to do about it."""
    with pytest.raises(StoreUnavailable, match="az login"):
        await asyncio.wait_for(account.opens(Identity()).query("print 1"), 5.0)

"""The API as a program meets it, over real ports."""

from __future__ import annotations

import re

import httpx
import msgspec
import pytest

from flockiq.shared import wire
from flockiq.shared.alerts import AlertTransition
from flockiq.shared.errors import HubUnavailable
from flockiq.shared.positions import bucket
from flockiq.shared.services import Services
from flockiq.shared.status import StreamStatus, touch
from tests.serve.sample import COMPANIES, HOSTILE, alert, alerts, company_id, fired, now_us

HALVED = company_id("123456789")


def halved(now: int) -> AlertTransition:
    """The sample's alert of a halved credit limit; its id does not depend on the time."""
    return alerts(now)[0]


async def published(services: Services) -> list[tuple[int, wire.Action]]:
    """Every action on hub ``resolved``, with its partition."""
    found = []
    for partition in range(await services.events.partition_count("resolved")):
        for event in await services.events.read("resolved", partition, 0, 100):
            assert event.properties["kind"] == wire.ACTION
            lines = wire.unpack(event.body).splitlines()
            found += [(partition, msgspec.json.decode(line, type=wire.Action)) for line in lines]
    return found


@pytest.mark.usefixtures("sample")
async def test_alerts_are_listed_newest_first(client: httpx.AsyncClient) -> None:
    """Every alert once, with all that is known of it."""
    listed = (await client.get("/api/alerts")).json()
    assert listed["continuation"] == ""
    opened = [each["opened_us"] for each in listed["alerts"]]
    assert len(opened) == 6
    assert opened == sorted(opened, reverse=True)


@pytest.mark.parametrize(
    ("query", "rules"),
    [
        ({"status": "resolved"}, {"feed-silent"}),
        ({"status": ["pending", "resolved"]}, {"feed-silent", "risk-very-high"}),
        ({"rule": "credit-limit-halved"}, {"credit-limit-halved"}),
        ({"subject": HALVED}, {"credit-limit-halved"}),
        ({"rule": "no-such-rule"}, set()),
    ],
)
@pytest.mark.usefixtures("sample")
async def test_alerts_are_filtered(client: httpx.AsyncClient, query: dict[str, str], rules: set[str]) -> None:
    """By status, by several statuses, by rule and by subject."""
    listed = (await client.get("/api/alerts", params=query)).json()["alerts"]
    assert {each["rule"] for each in listed} == rules


@pytest.mark.usefixtures("sample")
async def test_paging_tells_every_alert_once(client: httpx.AsyncClient) -> None:
    """Following the continuation visits each alert once and ends."""
    seen: list[str] = []
    query: dict[str, str | int] = {"limit": 2}
    while True:
        page = (await client.get("/api/alerts", params=query)).json()
        seen += [each["id"] for each in page["alerts"]]
        if not page["continuation"]:
            break
        query["continuation"] = page["continuation"]
    assert len(seen) == len(set(seen)) == 6


@pytest.mark.usefixtures("sample")
async def test_an_alert_comes_with_its_history(client: httpx.AsyncClient) -> None:
    """What happened to it, oldest first."""
    told = (await client.get(f"/api/alerts/{halved(0).id}")).json()
    assert told["alert"]["status"] == "firing"
    assert [each["change"] for each in told["history"]] == ["open", "fire"]


async def test_acknowledging_is_kept_and_told_to_the_partition_of_the_condition(
    sample: Services, client: httpx.AsyncClient
) -> None:
    """The alert names who did it, and the engine's partition is sent the action."""
    by = {"X-MS-CLIENT-PRINCIPAL-NAME": "ada@example.com"}
    answer = (await client.post(f"/api/alerts/{halved(0).id}/acknowledge", headers=by)).json()
    assert (answer["status"], answer["acknowledged_by"]) == ("acknowledged", "ada@example.com")
    [(partition, action)] = await published(sample)
    assert partition == bucket(HALVED, 4)
    assert (action.data.action, action.data.entity_id, action.data.by) == ("acknowledge", HALVED, "ada@example.com")
    assert (action.data.alert_id, action.data.rule) == (halved(0).id, "credit-limit-halved")


async def test_resolving_without_sign_in_is_by_the_operator(sample: Services, client: httpx.AsyncClient) -> None:
    """On one machine nobody signs in."""
    answer = (await client.post(f"/api/alerts/{halved(0).id}/resolve")).json()
    assert (answer["status"], answer["resolved_by"]) == ("resolved", "operator")
    [(_, action)] = await published(sample)
    assert action.data.action == "resolve"


async def test_an_alert_without_a_group_is_not_told_to_any_partition(
    sample: Services, client: httpx.AsyncClient
) -> None:
    """A query rule's conditions are kept nowhere else."""
    [owed] = (await client.get("/api/alerts", params={"rule": "deleted-with-open-invoices"})).json()["alerts"]
    assert (await client.post(f"/api/alerts/{owed['id']}/resolve")).status_code == 200
    assert await published(sample) == []


async def test_acting_twice_keeps_the_first_and_tells_again(sample: Services, client: httpx.AsyncClient) -> None:
    """A press whose message was lost can be repeated."""
    for name in ("ada", "bob"):
        by = {"X-MS-CLIENT-PRINCIPAL-NAME": name}
        answer = (await client.post(f"/api/alerts/{halved(0).id}/resolve", headers=by)).json()
    assert answer["resolved_by"] == "ada"
    assert len(await published(sample)) == 2


async def test_a_hub_that_is_away_is_said_and_the_action_can_be_repeated(
    sample: Services, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with a way out; the same request works once the hub is back."""

    async def away(*_: object) -> None:
        raise HubUnavailable("hub resolved does not answer; try again in a moment")

    with monkeypatch.context() as patch:
        patch.setattr(sample.events, "publish", away)
        answer = await client.post(f"/api/alerts/{halved(0).id}/resolve")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "try again" in answer.json()["detail"]
    assert (await client.post(f"/api/alerts/{halved(0).id}/resolve")).status_code == 200
    assert len(await published(sample)) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
    ],
)
@pytest.mark.parametrize("path", ["/api/alerts/{}/resolve", "/alerts/{}/resolve?then=list"])
async def test_another_site_cannot_act(
    sample: Services, client: httpx.AsyncClient, path: str, headers: dict[str, str]
) -> None:
    """A form on a stranger's page is refused, and nothing changes."""
    answer = await client.post(path.format(halved(0).id), headers=headers)
    assert answer.status_code == 403
    assert (await sample.alerts.get("default", halved(0).id)).status == "firing"


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://127.0.0.1:7071"}, {}])
@pytest.mark.usefixtures("sample")
async def test_our_own_page_and_programs_can_act(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """The page's own requests, and those of programs, which send neither header."""
    assert (await client.post(f"/api/alerts/{halved(0).id}/resolve", headers=headers)).status_code == 200


@pytest.mark.usefixtures("sample")
async def test_a_strange_principal_name_is_made_harmless(client: httpx.AsyncClient) -> None:
    """Control characters go, and the length is bounded."""
    by = {"X-MS-CLIENT-PRINCIPAL-NAME": "a\tda" + "x" * 5000}
    answer = (await client.post(f"/api/alerts/{halved(0).id}/acknowledge", headers=by)).json()
    assert re.fullmatch(r"adax{197}", answer["acknowledged_by"])


@pytest.mark.usefixtures("sample")
async def test_entities_are_found(client: httpx.AsyncClient) -> None:
    """By a part of the name; of one type or all."""
    found = (await client.get("/api/entities", params={"q": "nordwind"})).json()["entities"]
    assert [(each["id"], each["type"]) for each in found] == [(HALVED, "company")]
    companies = (await client.get("/api/entities", params={"type": "company"})).json()["entities"]
    assert len(companies) == len(COMPANIES)


@pytest.mark.usefixtures("sample")
async def test_an_entity_tells_where_every_value_comes_from(client: httpx.AsyncClient) -> None:
    """Golden value, winner and why, what each source says, and who disagrees."""
    told = (await client.get(f"/api/entities/{HALVED}")).json()
    fields = {each["field"]: each for each in told["fields"]}
    limit = fields["credit_limit"]
    assert (limit["value"], limit["source"], limit["rule"]) == ("25000.00", "erp", "rank")
    assert limit["watched"]
    assert not fields["tax_id"]["watched"]
    assert {each["source"]: (each["value"], each["agrees"]) for each in limit["values"]} == {
        "crm": ("50000.00", False),
        "erp": ("25000.00", True),
    }
    assert [(each["source"], each["key"]) for each in told["records"]] == [
        ("crm", "a-123456789"),
        ("erp", "C12345"),
        ("bureau", "123456789"),
    ]
    assert [each["id"] for each in told["history"]] == ["d1", "d3", "d2"]
    newest = told["history"][0]
    assert newest["old_source_time"] < newest["new_source_time"] < newest["source_time"]
    assert [each["rule"] for each in told["alerts"]] == ["credit-limit-halved"]


@pytest.mark.usefixtures("sample")
async def test_the_page_parts_what_changed_from_what_was_taken_back(client: httpx.AsyncClient) -> None:
    """What stands comes first; a change that late data undid is told once, and its undoing not at all."""
    shown = (await client.get(f"/entities/{HALVED}")).text
    standing, _, taken = shown.partition('<details id="taken-back">')
    assert standing.count('<td class="old">') == 1
    assert '<td class="old">50,000.00<span class="why">said <time' in standing
    assert '<td class="value">25,000.00<span class="why">said <time' in standing
    assert taken.count('<td class="old">') == 1
    assert '<td class="old">Bremen<span class="why">said <time' in taken
    other = (await client.get(f"/entities/{company_id('318224907')}")).text
    assert "taken-back" not in other


@pytest.mark.usefixtures("sample")
async def test_a_source_that_deleted_its_record_no_longer_says_anything(client: httpx.AsyncClient) -> None:
    """Its record is listed as deleted; its old values are not shown as if they still stood."""
    told = (await client.get(f"/api/entities/{company_id('442190356')}")).json()
    assert {each["source"]: each["deleted"] for each in told["records"]}["crm"]
    assert not any(said["source"] == "crm" for each in told["fields"] for said in each["values"])


@pytest.mark.usefixtures("sample")
async def test_sources_tell_what_is_fresh_late_failing_and_waiting(client: httpx.AsyncClient) -> None:
    """Every configured stream is there, read or not."""
    told = (await client.get("/api/sources")).json()["sources"]
    states = {(each["source"], each["stream"]): each["state"] for each in told}
    assert states["crm", "accounts"] == "fresh"
    assert states["crm", "contacts"] == "late"
    assert states["erp", "orders"] == "failing"
    assert states["marketing", "contacts"] == "fresh"
    assert states["bureau", "ratings"] == "waiting"
    per_minute = {(each["source"], each["stream"]): sum(each["per_minute"]) for each in told}
    assert per_minute["crm", "accounts"] == 90


async def test_a_stream_that_was_never_read_because_it_fails_is_failing(
    services: Services, client: httpx.AsyncClient
) -> None:
    """Not waiting for its first reading: somebody mistyped its address."""
    await touch(services, "crm", "accounts", lambda status: msgspec.structs.replace(status, error="no such host"))
    told = (await client.get("/api/sources")).json()["sources"]
    states = {(each["source"], each["stream"]): (each["state"], each["error"]) for each in told}
    assert states["crm", "accounts"] == ("failing", "no such host")
    assert states["crm", "contacts"] == ("waiting", "")


async def test_a_stream_that_is_not_configured_any_more_says_so(services: Services, client: httpx.AsyncClient) -> None:
    """It is neither fresh nor failing, whatever it was when it was read last."""
    at = now_us()
    for stream, error in (("fine", ""), ("broken", "503")):
        status = StreamStatus(last_run_us=at, last_record_us=at, error=error)
        await touch(services, "gone", stream, lambda _, status=status: status)
    told = [each for each in (await client.get("/api/sources")).json()["sources"] if each["source"] == "gone"]
    assert [(each["state"], each["error"]) for each in told] == [("waiting", ""), ("waiting", "")]
    assert all("disabled or no longer in the config" in each["means"] for each in told)
    assert (await client.get("/api/health")).json()["status"] == "ok"


@pytest.mark.usefixtures("sample")
async def test_the_summary_counts(client: httpx.AsyncClient) -> None:
    """Records by source, entities, standing deltas, alerts by rule, latency."""
    told = (await client.get("/api/summary")).json()
    assert told["captured"] == {"crm": 4041, "erp": 19_167, "marketing": 311}
    assert told["entity_types"] == {"company": len(COMPANIES), "invoice": 4}
    assert (told["deltas"], told["dead_letters"]) == (2, 1)
    assert (told["duplicates_absorbed"], told["too_late"]) == (5, 3)
    assert told["alerts"]["credit-limit-halved"] == {"firing": 2}
    assert told["open_alerts"] == {"critical": 3, "warning": 1}
    assert told["latency_ms"]["p99"] == 800.0


@pytest.mark.usefixtures("sample")
async def test_latency_can_be_asked_from_a_moment_on(client: httpx.AsyncClient) -> None:
    """Changes committed before ``since`` do not count."""
    told = (await client.get("/api/summary", params={"since": "2999-01-01T00:00:00Z"})).json()
    assert told["latency_ms"] == {"p50": None, "p99": None, "changes": 0}


async def test_an_empty_app_answers_everything(client: httpx.AsyncClient) -> None:
    """Right after the start there is nothing, and that is no error."""
    for path in ("alerts", "entities", "sources", "summary", "health"):
        assert (await client.get(f"/api/{path}")).status_code == 200, path


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/alerts/unknown", 404),
        ("/api/entities/unknown", 404),
        ("/api/nothing", 404),
        ("/api/alerts?limit=0", 422),
        ("/api/alerts?limit=501", 422),
        ("/api/alerts?status=nonsense", 422),
        ("/api/entities?q=" + "x" * 201, 422),
        ("/api/summary?since=yesterday", 422),
    ],
)
async def test_errors_are_problem_documents(client: httpx.AsyncClient, path: str, status: int) -> None:
    """RFC 9457, with a sentence, and without a traceback."""
    answer = await client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert len(problem["detail"]) > 20
    assert "Traceback" not in answer.text


@pytest.mark.usefixtures("sample")
async def test_a_made_up_continuation_is_refused(client: httpx.AsyncClient) -> None:
    """It is the caller's mistake, not a fault of ours."""
    assert (await client.get("/api/alerts", params={"continuation": "'; drop table"})).status_code in (400, 422)


async def test_an_unexpected_error_tells_nothing_of_the_inside(
    services: Services, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the traceback, the caller a sentence."""

    async def broken(*_: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(services.alerts, "query", broken)
    answer = await client.get("/api/alerts")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text


@pytest.mark.parametrize("path", ["/", "/api/alerts", "/api/nothing", "/static/page.css", "/entities/unknown"])
async def test_every_answer_has_its_guards(client: httpx.AsyncClient, path: str) -> None:
    """A policy that runs no foreign or inline script, no sniffing, no framing."""
    headers = (await client.get(path)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


async def test_only_what_the_page_is_made_of_is_kept_by_browsers(client: httpx.AsyncClient) -> None:
    """Records of customers are in no cache; style sheets are, and are asked for again by their etag."""
    for path in ("/", "/api/alerts", "/headline"):
        assert (await client.get(path)).headers["cache-control"] == "no-store", path
    style = await client.get("/static/page.css")
    assert style.headers["cache-control"] == "max-age=300"
    again = await client.get("/static/page.css", headers={"If-None-Match": style.headers["etag"]})
    assert again.status_code == 304


async def test_the_description_is_whole(client: httpx.AsyncClient) -> None:
    """Every schema that the OpenAPI document refers to is in it, and every route is described."""
    text = (await client.get("/api/openapi.json")).text
    document = msgspec.json.decode(text)
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert {"Alert", "Entity", "Summary", "ProblemDocument"} <= references
    assert references <= document["components"]["schemas"].keys()
    assert {"/api/alerts", "/api/alerts/{alert_id}/{verb}", "/api/entities/{entity_id}"} <= document["paths"].keys()


async def test_text_from_sources_is_escaped_on_every_page(sample: Services, client: httpx.AsyncClient) -> None:
    """A name that is a script stays text."""
    hostile = alert("r<b>", "change", "critical", "s", HOSTILE, now_us(), recommend=HOSTILE, values={"x": HOSTILE})
    await sample.alerts.apply("default", [hostile, fired(hostile, now_us(), HOSTILE)])
    paths = (
        "/",
        f"/alerts/{hostile.id}",
        f"/entities/{company_id('660418823')}",
        f"/entities?q={HOSTILE}",
        "/entities",
    )
    for path in paths:
        page = (await client.get(path)).text
        assert "&lt;script&gt;document" in page, path
        assert "<script>document" not in page, path
        assert "<img src=x" not in page, path

"""A person sets a golden field: what is told to the engine, what is refused, what the page shows."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from flockiq.shared import wire
from flockiq.shared.instants import instant_us, rfc3339
from flockiq.shared.positions import bucket, entity_id
from flockiq.shared.services import Services
from tests.serve.sample import TENANT, company_id, now_us

NORDWIND = company_id("123456789")
_line = msgspec.json.Decoder(wire.Override).decode


async def told(services: Services) -> list[wire.Override]:
    """The lines of overrides on hub ``resolved``, each on its entity's partition."""
    found = []
    for partition in range(await services.events.partition_count("resolved")):
        for event in await services.events.read("resolved", partition, 0, 100):
            lines = [_line(text) for text in wire.unpack(event.body).split(b"\n")]
            assert all(bucket(line.data.group, services.settings.partitions["resolved"]) == partition for line in lines)
            found += lines
    return found


def in_a_week() -> str:
    """A time that is to come."""
    return rfc3339(now_us() + 7 * 86_400_000_000)


async def asked(client: httpx.AsyncClient, entity: str = NORDWIND, kind: str = "company", **said: Any) -> Any:
    """Ask for an override."""
    body = {"field": "credit_limit", "value": "75000", "until": in_a_week()} | said
    return await client.post(f"/api/entities/{kind}/{entity}/overrides", json=body)


async def test_what_a_person_sets_is_told_to_who_keeps_the_entity(sample: Services, client: httpx.AsyncClient) -> None:
    """In canonical form, with who said it and until when."""
    until = in_a_week()
    answer = await asked(client, until=until)
    assert answer.status_code == 200
    (line,) = await told(sample)
    assert (line.id, line.data.field, line.data.value) == (answer.json()["id"], "credit_limit", "75000.00")
    assert (line.data.entity_id, line.data.match_key, line.data.by) == (NORDWIND, "123456789", "operator")
    assert line.data.until_us == instant_us(until)
    assert line.data.at_us < line.data.until_us


@pytest.mark.parametrize(
    ("said", "status", "why"),
    [
        ({"field": "colour"}, 400, "credit_limit"),
        ({"value": "a lot"}, 400, "is not a decimal number"),
        ({"until": "2020-01-01T00:00:00Z"}, 400, "is over"),
        ({"until": "9999-01-01T00:00:00Z"}, 400, "ahead"),
        ({"until": "2999-01-01T00:00:00"}, 422, "until"),
        ({"value": {"a": 1}}, 422, "value"),
        ({"by": "somebody else"}, 422, "by"),
        ({"entity": "0" * 32}, 404, "no entity"),
        ({"kind": "invoice"}, 404, "no invoice"),
    ],
)
async def test_what_can_not_be_is_refused_and_not_told(
    sample: Services, client: httpx.AsyncClient, said: dict[str, Any], status: int, why: str
) -> None:
    """Fields, values and times that fit nothing, and things that are not there."""
    answer = await asked(client, **said)
    assert answer.status_code == status
    assert why in answer.json()["detail"]
    assert await told(sample) == []


async def test_a_type_that_wants_no_overrides_takes_none(sample: Services, client: httpx.AsyncClient) -> None:
    """The answer says which line of config would let people."""
    invoice = entity_id(TENANT, "invoice", "override-test")
    row = {
        "Tenant": TENANT,
        "EntityType": "invoice",
        "EntityId": invoice,
        "MatchKey": "override-test",
        "Version": 1,
        "UpdatedAt": rfc3339(now_us()),
        "SourceTime": rfc3339(now_us()),
        "Deleted": False,
        "Fields": {},
        "Provenance": {},
        "Sources": {},
    }
    await sample.analytics.ingest("Entities", msgspec.json.encode(row))
    answer = await asked(client, invoice, "invoice", field="amount")
    assert answer.status_code == 400
    assert "overrides: true" in answer.json()["detail"]


async def test_the_page_sets_shows_and_takes_back(sample: Services, client: httpx.AsyncClient) -> None:
    """A form sets; once the golden record has it, its person, its end and a way back are shown."""
    shown = (await client.get(f"/entities/{NORDWIND}", headers={"accept": "text/html"})).text
    assert "Set a field by hand" in shown
    answer = await client.post(
        f"/entities/company/{NORDWIND}/overrides", data={"field": "city", "value": "Kiel", "period": "a day"}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, f"/entities/{NORDWIND}")
    (line,) = await told(sample)
    assert (line.data.field, line.data.value) == ("city", "Kiel")
    assert line.data.until_us - line.data.at_us == 86_400_000_000

    await _overridden(sample, line)
    page = (await client.get(f"/entities/{NORDWIND}", headers={"accept": "text/html"})).text
    assert "Kiel" in page
    assert "set by hand" in page
    back = f"/entities/company/{NORDWIND}/overrides/{line.id}/end"
    assert back in page
    assert (await client.post(back)).status_code == 303
    end = (await told(sample))[1]
    assert (end.data.ends, end.data.field, end.data.until_us) == (line.id, "city", 0)


async def test_only_what_is_in_force_is_taken_back(sample: Services, client: httpx.AsyncClient) -> None:
    """An override that the golden record does not show is none."""
    answer = await client.post(f"/api/entities/company/{NORDWIND}/overrides/{'0' * 32}/end")
    assert answer.status_code == 404
    assert await told(sample) == []


@pytest.mark.parametrize(
    "form", ["field=city&value=Kiel&period=ever", "x" * 500_000, "&".join("abcdefghijkl"), "%ff=1"]
)
async def test_a_form_that_is_none_is_refused(sample: Services, client: httpx.AsyncClient, form: str) -> None:
    """Periods that the page does not offer, and bytes that are no form."""
    answer = await client.post(f"/entities/company/{NORDWIND}/overrides", content=form)
    assert 400 <= answer.status_code < 500
    assert await told(sample) == []


async def _overridden(services: Services, line: wire.Override) -> None:
    """The Entities row as the engine would write it."""
    table = await services.analytics.query(f'Entities | where EntityId == "{NORDWIND}" | top 1 by Version')
    at: dict[str, Any] = dict(zip(table.columns, table.rows[0], strict=True))
    at["Version"] = at["Version"] + 1
    at["Fields"] = dict(at["Fields"]) | {"city": line.data.value}
    at["Provenance"] = dict(at["Provenance"]) | {
        "city": {
            "source": line.data.by,
            "rule": "override",
            "us": line.data.at_us,
            "run": 0,
            "row": 0,
            "until": line.data.until_us,
            "override": line.id,
        }
    }
    await services.analytics.ingest("Entities", msgspec.json.encode(at))

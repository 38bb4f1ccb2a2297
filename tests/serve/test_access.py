"""Who may ask: Entra roles, function keys, this machine alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from flockiq.serve.access import ROLES, role_for
from flockiq.serve.app import application
from flockiq.shared.services import Services
from flockiq.shared.settings import Access

type Ask = Callable[..., httpx.AsyncClient]
READ, ACT, ADMIN = "/api/alerts", "/api/alerts/none/acknowledge", "/api/sources/none/backfill"


@pytest.fixture
def ask(services: Services) -> Ask:
    """Makes a client of an app that admits as told."""

    def asking(access: Access, base_url: str = "https://flockiq.example") -> httpx.AsyncClient:
        given = services._replace(settings=msgspec.structs.replace(services.settings, access=access))
        transport = httpx.ASGITransport(application(lambda: given))
        return httpx.AsyncClient(transport=transport, base_url=base_url)

    return asking


def signed_in(*roles: str, name: str = "ada@example.com", role_typ: str = "roles") -> dict[str, str]:
    """The headers App Service puts on the request of somebody with these roles."""
    claims = [{"typ": role_typ, "val": role} for role in roles] + [{"typ": "scp", "val": "admin"}]
    principal = {"auth_typ": "aad", "name_typ": "name", "role_typ": role_typ, "claims": claims}
    told = base64.b64encode(json.dumps(principal).encode()).decode()
    return {"X-MS-CLIENT-PRINCIPAL": told, "X-MS-CLIENT-PRINCIPAL-NAME": name}


@pytest.mark.parametrize(
    ("role", "reads", "acts", "administers"),
    [("reader", 200, 403, 403), ("operator", 200, 404, 403), ("admin", 200, 404, 404), ("Operator", 200, 404, 403)],
)
async def test_a_role_may_do_what_it_is_for(ask: Ask, role: str, reads: int, acts: int, administers: int) -> None:
    """Readers look, operators act on alerts and dead letters, admins begin backfills; 404 is past the door."""
    async with ask("entra") as client:
        headers = signed_in(role)
        assert (await client.get(READ, headers=headers)).status_code == reads
        assert (await client.post(ACT, headers=headers)).status_code == acts
        assert (await client.post(ADMIN, headers=headers)).status_code == administers


@pytest.mark.parametrize(("role", "status"), [("reader", 403), ("operator", 403), ("admin", 400)])
async def test_only_an_admin_erases(ask: Ask, role: str, status: int) -> None:
    """It is for ever; 400 is past the door, for there is no such type."""
    body = {"key": "who", "type": "none"}
    async with ask("entra") as client:
        assert (await client.post("/api/erasures", json=body, headers=signed_in(role))).status_code == status


async def test_the_greatest_of_several_roles_counts(ask: Ask) -> None:
    """Groups give people roles more than once; older tokens name the claim by its URI."""
    uri = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
    async with ask("entra") as client:
        answer = await client.post(ACT, headers=signed_in("reader", "operator", role_typ=uri))
    assert answer.status_code == 404


async def test_without_sign_in_nobody_gets_in(ask: Ask) -> None:
    """Not the page, not the API, not a static file."""
    async with ask("entra") as client:
        for path in ("/", READ, "/static/page.css", "/api/openapi.json", "/api/health"):
            answer = await client.get(path)
            assert answer.status_code == 401, path
            assert "Sign in" in answer.json()["detail"]


@pytest.mark.parametrize("roles", [(), ("superuser",), ("",)])
async def test_somebody_without_a_role_is_told_which_there_are(ask: Ask, roles: tuple[str, ...]) -> None:
    """Being of the organisation is not enough; other claims of that value are no roles."""
    async with ask("entra") as client:
        answer = await client.get(READ, headers=signed_in(*roles))
    assert answer.status_code == 403
    assert "reader, operator or admin" in answer.json()["detail"]


@pytest.mark.parametrize(
    "principal",
    ["%%%", "", "e30", base64.b64encode(b"[]").decode(), base64.b64encode(b'{"claims": 1}').decode(), "A" * 100_000],
)
async def test_a_principal_that_can_not_be_read_is_nobody(ask: Ask, principal: str) -> None:
    """No form of the header lets anyone in, or breaks the app."""
    async with ask("entra") as client:
        answer = await client.get(READ, headers={"X-MS-CLIENT-PRINCIPAL": principal})
    assert answer.status_code == 401


async def test_with_keys_the_host_has_asked_for_one(ask: Ask) -> None:
    """Headers that only sign-in may set say nothing then: the change is the key's."""
    async with ask("keys") as client:
        assert (await client.get(READ)).status_code == 200
        assert (await client.post(ADMIN, headers=signed_in("reader"))).status_code == 404


@pytest.mark.parametrize("host", ["127.0.0.1:7071", "localhost:7071", "[::1]:7071", "127.9.9.9"])
async def test_without_a_choice_this_machine_gets_in(ask: Ask, host: str) -> None:
    """`make run` needs no setting."""
    async with ask("local", f"http://{host}") as client:
        assert (await client.get(READ)).status_code == 200


@pytest.mark.parametrize(
    "host", ["flockiq.azurewebsites.net", "localhost.evil.example", "10.0.0.5", "127.0.0.1.nip.io"]
)
async def test_without_a_choice_nobody_else_gets_in(ask: Ask, host: str) -> None:
    """An app deployed without a choice is closed, and a website's own name for 127.0.0.1 opens nothing."""
    async with ask("local", f"https://{host}") as client:
        answer = await client.get(READ, headers=signed_in("admin"))
    assert answer.status_code == 403
    assert "FLOCKIQ_ACCESS" in answer.json()["detail"]


def test_roles_grow() -> None:
    """Each may do what those before it may; a method nobody thought of takes more than reading."""
    assert ROLES == ("reader", "operator", "admin")
    assert [role_for(method, "/api/x") for method in ("GET", "HEAD", "DELETE", "PATCH")] == [
        "reader",
        "reader",
        "operator",
        "operator",
    ]


@pytest.mark.parametrize(("access", "level"), [("keys", "FUNCTION"), ("entra", "ANONYMOUS"), ("local", "ANONYMOUS")])
def test_with_keys_the_functions_ask_for_one(access: str, level: str) -> None:
    """What the host is told when it indexes; webhooks stay open, for their signatures say who sends."""
    import os  # noqa: PLC0415 - for a process of its own: levels are fixed as modules load
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    code = "from flockiq.serve.functions import LEVEL; print(LEVEL.name)"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "FLOCKIQ_ACCESS": access},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == level

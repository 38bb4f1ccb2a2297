"""The API's description is valid, complete, and kept by what it describes."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from schemathesis import GenerationMode
from schemathesis.core.failures import AcceptedNegativeData, Failure, FailureGroup, ServerError
from schemathesis.specs.openapi.checks import ignored_auth

from flockiq.serve.app import application
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings
from tests.serve.sample import fill, now_us

ROOT = Path(__file__).parents[2]
NOT_HERE = [ignored_auth]  # on this machine nobody signs in: tests/serve/test_access.py holds who gets in
EXPECTED = {
    "checks": {
        # 400: a continuation that no page gave; a schema can't say which did.
        "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "403", "404", "409"]},
        "negative_data_rejection": {"expected-statuses": ["400", "404", "405", "413", "414", "422"]},
    }
}
ROUTE = r"@(?:api|router)\.(get|post|put|patch|delete)\(\s*\"(/[^\"]*)\""
NUMBER = {"type": "object", "required": ["number"], "properties": {"number": {"type": "integer"}}}
QUICK: dict[str, Any] = {
    "max_examples": 8,
    "deadline": None,
    "database": None,
    "derandomize": True,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


def unopened() -> Services:
    """Services that a description does without."""
    raise AssertionError("describing the API opened the services")


def described() -> dict[str, Any]:
    """The description as the app gives it."""
    document: dict[str, Any] = application(unopened).openapi()
    return document


def test_the_description_is_valid_openapi() -> None:
    """By the specification's own schemas, version 3.1."""
    document = described()
    assert document["openapi"].startswith("3.1")
    validate(document, cls=OpenAPIV31SpecValidator)


def test_everything_under_api_is_described() -> None:
    """Routes of the web application, and functions with a route of their own."""
    told = {(path, method.upper()) for path, each in described()["paths"].items() for method in each}
    written = {
        (f"/api{path}", method.upper())
        for module in (ROOT / "serve").glob("*.py")
        for method, path in re.findall(
            r"@(?:api|router)\.(get|post|put|patch|delete)\(\s*\"(/[^\"]*)\"", module.read_text()
        )
    }
    assert len(written) > 10
    assert (written | {("/api/webhooks/{source}", "POST")}) - told == set()


def test_every_operation_has_a_name_a_summary_and_says_what_may_go_wrong() -> None:
    """Names are the functions' own, and no two are the same."""
    operations = [each for path in described()["paths"].values() for each in path.values()]
    names = [each["operationId"] for each in operations]
    assert len(set(names)) == len(names)
    for each in operations:
        assert each["summary"]
        assert {"401", "413", "503"} <= set(each["responses"])


def test_every_operation_says_which_role_it_takes() -> None:
    """So that whoever asks for access knows what to ask for."""
    paths = described()["paths"]
    told = {method: set() for method in ("get", "post")}
    for path, operations in paths.items():
        for method, each in operations.items():
            if not path.startswith("/api/webhooks"):
                told[method].add(each["description"])
    assert told["get"] == {"Takes the role reader."}
    assert told["post"] == {"Takes the role operator.", "Takes the role admin."}


def test_the_gateway_has_the_description_of_this_version() -> None:
    """infra/openapi.json is what the app tells; `make schemas` writes it."""
    assert json.loads((ROOT / "infra" / "openapi.json").read_text()) == described()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app with the sample world in it, on a port of this machine."""
    opened = connect(Settings(data=tmp_path_factory.mktemp("data"), requests_per_s=1e6))
    with served(application(lambda: opened), lambda: fill(opened, now_us()), opened.close) as address:
        yield address


async def nothing() -> None:
    """What comes before and after an app that keeps nothing."""


@contextmanager
def served(
    app: FastAPI, before: Callable[[], Awaitable[object]] = nothing, after: Callable[[], Awaitable[object]] = nothing
) -> Iterator[str]:
    """The address of an app that is served in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))

    async def serve() -> None:
        await before()
        await server.serve()
        await after()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    while not server.started:
        thread.join(0.05)
        assert thread.is_alive()
    (listener,) = server.servers
    host, port = listener.sockets[0].getsockname()
    yield f"http://{host}:{port}"
    server.should_exit = True
    thread.join()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_nothing_breaks_the_api_and_it_keeps_to_its_description(url: str, mode: GenerationMode) -> None:
    """Requests made from the description, as it allows and as it forbids: no 500, no untold answer."""
    tried = held(described(), url, mode)
    assert len(tried) > 80
    assert tried.count(404 if mode is GenerationMode.POSITIVE else 422) > 8


def held(document: dict[str, Any], url: str, mode: GenerationMode) -> list[int]:
    """The answers that an app gives to requests made from its description. Failure if it does not keep to that."""
    schema = schemathesis.openapi.from_dict(document, config=schemathesis.Config.from_dict(EXPECTED))
    schema.config.update(base_url=url)
    tried: list[int] = []
    for found in schema.get_all_operations():
        operation = found.ok()
        wrong_is_possible = operation.path_parameters or operation.query or operation.body
        if operation.path.startswith("/api/webhooks") or (mode is GenerationMode.NEGATIVE and not wrong_is_possible):
            continue  # deliveries are answered by capture, whose tests hold it

        def holds(case: schemathesis.Case) -> None:
            response = case.call()
            tried.append(response.status_code)
            case.validate_response(response, excluded_checks=NOT_HERE)

        settings(**QUICK)(given(case=operation.as_strategy(mode))(holds))()
    return tried


@pytest.mark.parametrize(
    ("mode", "fault"),
    [(GenerationMode.POSITIVE, ServerError), (GenerationMode.NEGATIVE, AcceptedNegativeData)],
)
def test_an_api_that_breaks_is_found_out(mode: GenerationMode, fault: type[Failure]) -> None:
    """So the test above means something: one breaks at what it takes, one takes what it says that it does not."""
    broken = FastAPI()

    @broken.post("/api/halves", openapi_extra={"requestBody": {"content": {"application/json": {"schema": NUMBER}}}})
    async def halve() -> float:
        return 1 / (1 if mode is GenerationMode.NEGATIVE else 0)

    with served(broken) as address, pytest.raises(FailureGroup) as found:
        held(broken.openapi(), address, mode)
    assert fault in {type(one) for one in found.value.exceptions}

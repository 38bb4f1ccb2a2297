"""The HTTP functions as the Functions worker calls them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import azure.functions as func
import msgspec
import pytest

from flockiq.serve import functions
from flockiq.shared import services

ROOT = Path(__file__).resolve().parents[2]


def request(path: str, method: str = "GET", **headers: str) -> func.HttpRequest:
    """A request as the worker hands it over."""
    return func.HttpRequest(method=method, url=f"http://127.0.0.1:7071{path}", headers=headers, body=b"")


async def call(name: str, asked: func.HttpRequest) -> func.HttpResponse:
    """Call a function by its name, as an app has it that registers the blueprint."""
    app = func.FunctionApp()
    app.register_functions(functions.blueprint)
    [found] = [each for each in app.get_functions() if each.get_function_name() == name]
    answer: func.HttpResponse = await found.get_user_function()(asked, None)
    return answer


@pytest.fixture(autouse=True)
async def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """This process's services over a folder of their own."""
    monkeypatch.setenv("FLOCKIQ_DATA", str(tmp_path))
    functions._middleware.cache_clear()
    yield
    await services.close()
    functions._middleware.cache_clear()


async def test_the_page_is_at_the_root() -> None:
    """An empty app shows its page, and says what happens next."""
    answer = await call("serve", request("/"))
    assert answer.status_code == 200
    assert answer.mimetype == "text/html; charset=utf-8"
    assert b"Nothing needs you" in answer.get_body()


async def test_the_api_and_static_files_are_served() -> None:
    """Everything goes through one function."""
    assert msgspec.json.decode((await call("serve", request("/api/alerts"))).get_body())["alerts"] == []
    script = await call("serve", request("/static/vendor/htmx.min.js"))
    assert script.get_body() == (ROOT / "serve/static/vendor/htmx.min.js").read_bytes()


async def test_health_is_a_function_of_its_own() -> None:
    """So that it can be watched and metered apart from the page."""
    answer = await call("health", request("/api/health"))
    assert answer.status_code == 200
    told = msgspec.json.decode(answer.get_body())
    assert told["status"] == "ok", [each for each in told["checks"] if each["status"] != "ok"]


async def test_an_address_cannot_leave_the_static_folder() -> None:
    """Neither dots nor their escapes reach another file."""
    for path in (
        "/static/../functions.py",
        "/static/..%2ffunctions.py",
        "/static/%2e%2e/functions.py",
        "/static//etc/passwd",
    ):
        assert (await call("serve", request(path))).status_code == 404, path


async def test_a_browser_is_shown_a_page_when_something_is_missing() -> None:
    """A person gets a page with a way back, a program a problem document."""
    answer = await call("serve", request("/entities/unknown", accept="text/html"))
    assert answer.status_code == 404
    assert b"Back to the alerts" in answer.get_body()


def test_starting_the_worker_does_not_load_the_web_framework() -> None:
    """Indexing is quick: FastAPI waits for the first request."""
    program = "import sys, flockiq.serve.functions; sys.exit(any(m in sys.modules for m in ('fastapi', 'jinja2')))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0  # noqa: S603 - our own program

"""Which function answers which path."""

from __future__ import annotations

import pytest

from flockiq.local.host.errors import HostError
from flockiq.local.host.functions import Function, HttpTrigger
from flockiq.local.host.routes import MethodNotAllowed, Router


def router(*routes: str, prefix: str = "") -> Router:
    """A router of functions called as their routes, each written ``GET,POST alerts/{id}`` or without methods."""
    functions = []
    for route in routes:
        methods, _, template = route.rpartition(" ")
        trigger = HttpTrigger(template.strip("/"), frozenset(filter(None, methods.split(","))), "anonymous")
        functions.append(Function(route, route, "req", trigger, None, is_async=True))
    return Router(functions, prefix)


@pytest.mark.parametrize(
    ("routes", "path", "expected", "parameters"),
    [
        (["/", "a"], "/", "/", {}),
        (["{*path}", "a/{id}", "a/b"], "/a/b", "a/b", {}),
        (["{*path}", "a/{id}", "a/b"], "/a/c", "a/{id}", {"id": "c"}),
        (["{*path}", "a/{id}", "a/b"], "/a/c/d", "{*path}", {"path": "a/c/d"}),
        (["{*path}", "a"], "/", "{*path}", {}),
        (["a/{id}", "a/{id:int}"], "/a/7", "a/{id:int}", {"id": "7"}),
        (["a/{id}", "a/{id:int}"], "/a/x7", "a/{id}", {"id": "x7"}),
        (["a/{id:guid}"], "/a/0f8fad5b-d9cb-469f-a165-70867728950e", "a/{id:guid}", None),
        (["{a}/b", "a/{b}"], "/a/b", "a/{b}", {"b": "b"}),
        (["a/{id?}"], "/a", "a/{id?}", {}),
        (["a/{id?}"], "/a/1", "a/{id?}", {"id": "1"}),
        (["f/{name}.{ext}"], "/f/a.b.csv", "f/{name}.{ext}", {"name": "a.b", "ext": "csv"}),
        (["Alerts/{id}"], "/aLERTS/X", "Alerts/{id}", {"id": "X"}),
        (["a/{id}"], "/a/b%20c", "a/{id}", {"id": "b c"}),
        (["a/{id}"], "/a/b%2Fc", "a/{id}", {"id": "b%2Fc"}),
        (["a/{id}"], "/a/", None, None),
        (["a.b"], "/axb", None, None),
    ],
)
def test_the_most_exact_template_answers(
    routes: list[str], path: str, expected: str | None, parameters: dict[str, str] | None
) -> None:
    """Literal before pattern, constrained before free, catch-all last; letters in any case."""
    match = router(*routes).match("GET", path)
    assert (match and match.function.name) == expected
    if match and parameters is not None:
        assert match.parameters == parameters


def test_the_method_chooses_between_functions_of_one_route() -> None:
    """Reading and writing one address can be two functions."""
    both = router("GET a", "POST a")
    found = [both.match(method, "/a") for method in ("GET", "POST")]
    assert [match and match.function.name for match in found] == ["GET a", "POST a"]
    with pytest.raises(MethodNotAllowed, match="GET, POST"):
        both.match("DELETE", "/a")


def test_the_prefix_stands_before_every_route() -> None:
    """host.json's routePrefix."""
    assert router("a", prefix="api").match("GET", "/api/a") is not None
    assert router("a", prefix="api").match("GET", "/a") is None


@pytest.mark.parametrize(
    ("route", "message"),
    [("a/{id", "can't be read"), ("{id:odd}", "constraint 'odd'"), ("x{id?}", "inside a segment")],
)
def test_a_template_that_cant_be_read_is_refused(route: str, message: str) -> None:
    """At start, not at the first request."""
    with pytest.raises(HostError, match=message):
        router(route)

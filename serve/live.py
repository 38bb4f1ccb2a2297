"""Templates, and regions of a page that keep themselves up to date.

A region polls its own address and says which version it shows (``seen``). The answer is the
region anew, or 204 when it would look the same: then the browser leaves the screen alone, with
whatever the person is reading, has selected or has focused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

import xxhash
from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from flockiq import __version__
from flockiq.serve.display import FILTERS, WHY

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parent / "templates"),
    autoescape=True,  # every template, whatever its name: what is shown came from elsewhere
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(FILTERS)
_TEMPLATES.globals.update(version=__version__, why=WHY)


def render(template: str, **context: object) -> Markup:
    """A template's text, in which everything from outside is escaped."""
    return Markup(_TEMPLATES.get_template(template).render(context))  # noqa: S704 - the environment escapes


class Region:
    """A part of the page called ``name`` that asks ``path`` with ``parameters`` for itself ``every`` so often."""

    def __init__(
        self, name: str, path: str, template: str, parameters: Mapping[str, str] | None = None, *, every: str = "2s"
    ) -> None:
        self.name = name
        self.path = path
        self.template = template
        self.every = every
        self._parameters = {name: value for name, value in (parameters or {}).items() if value}

    def html(self, **context: object) -> Markup:
        """The region as it stands."""
        return self._around(render(self.template, **context))

    def answer(self, request: Request, **context: object) -> Response:
        """The answer to a poll: the region anew, or 204 when the browser shows just that."""
        inner = render(self.template, **context)
        if request.query_params.get("seen") == _fingerprint(inner):
            return Response(status_code=204)
        return HTMLResponse(self._around(inner))

    def _around(self, inner: Markup) -> Markup:
        address = f"{self.path}?{urlencode(self._parameters | {'seen': _fingerprint(inner)})}"
        return render("regions/region.html", region=self, address=address, inner=inner)


def _fingerprint(text: str) -> str:
    return xxhash.xxh3_64_hexdigest(text.encode())


def polled(request: Request) -> bool:
    """Whether a region asks for itself, rather than a person for a page."""
    return request.headers.get("hx-request") == "true"

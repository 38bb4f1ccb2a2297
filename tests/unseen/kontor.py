"""Kontor, a made-up warehouse system: an OData service written from the OData 4.01 specification alone.

docs.oasis-open.org/odata: "Protocol" (§8.2.8 preferences, §11.2.6 query options, §11.2.8 server-driven paging,
§11.3 changes, §11.4 error bodies) and "JSON Format" (§4.3 relative URLs, §4.6 control information, §15 deltas).

What it does as the specification has it, and few services do alike:

- It answers in the highest version the client admits: with OData-MaxVersion 4.01 the control information has no
  ``odata.`` before it (``@nextLink``, ``@removed``), with 4.0 it has.
- Its links are relative, seen from the context URL, not from the request.
- Removed entities come with their ``@id``, or with their key alone, as the service likes.
- What it does not track it reads all the same, and does not say Preference-Applied.
- A page holds fewer entities than asked for if it pleases.
- Times carry the offset of the warehouse they were written in (+05:30).
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ROOT: Final = "/dienste/odata/kontor;v=7/"
ZONE: Final = dt.timezone(dt.timedelta(hours=5, minutes=30))
_AUTHORIZED: Final = "Basic " + base64.b64encode(b"leser:offenes geheimnis").decode()

type Row = dict[str, Any]


@dataclass(frozen=True)
class EntitySet:
    """What the service knows of a set."""

    keys: tuple[str, ...]
    columns: tuple[str, ...]
    tracked: bool


SETS: Final[Mapping[str, EntitySet]] = {
    "Partner": EntitySet(
        ("Mandant", "Nummer"),
        ("Mandant", "Nummer", "Bezeichnung", "Anschrift", "Kreditlimit", "Region", "GeaendertAm"),
        tracked=True,
    ),
    "Belege": EntitySet(("id",), ("id", "Partner", "Art", "Summe", "GeaendertAm"), tracked=True),
    "Lagerorte": EntitySet(("Code",), ("Code", "Bestand", "GeaendertAm"), tracked=False),
}

METADATA: Final = (Path(__file__).parent / "kontor.xml").read_text("utf-8")


@dataclass
class Kontor:
    """The service. ``page``: most entities it puts on one, whatever is asked for."""

    page: int = 3
    log: list[tuple[str, str, Row | None]] = field(default_factory=list)  # (set, key predicate, entity or None)
    oldest: int = 0  # delta links from before it have expired
    newest_version: str = "4.01"
    answers: list[Response | None] = field(default_factory=list)  # instead of the usual, in order
    requests: list[Request] = field(default_factory=list)
    circle: bool = False  # the second page says that it comes after itself

    def __post_init__(self) -> None:
        self.app = Starlette(routes=[Route(ROOT + "{path:path}", self._answer)])

    def put(self, name: str, minute: int, **entity: Any) -> None:
        """Write an entity; its time is so many minutes after ten, UTC."""
        at = dt.datetime(2026, 3, 1, 10, tzinfo=dt.UTC) + dt.timedelta(minutes=minute, microseconds=250)
        row = {"GeaendertAm": at.astimezone(ZONE).isoformat(timespec="microseconds")} | entity
        self.log.append((name, _predicate(SETS[name], row), row))

    def remove(self, name: str, **key: Any) -> None:
        """Delete an entity."""
        self.log.append((name, _predicate(SETS[name], key), None))

    async def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        if request.headers.get("authorization") != _AUTHORIZED:
            return _error(401, "Anmeldung", "Wer sind Sie?")
        if self.answers and (instead := self.answers.pop(0)) is not None:
            return instead
        path = request.path_params["path"]
        if path == "$metadata":
            return Response(METADATA, media_type="application/xml")
        inner = re.fullmatch(r"Regionen\('(\w+)'\)/Partner", path)
        name, only = ("Partner", inner[1]) if inner else (path, "")
        if name not in SETS:
            return _error(404, "Ressource", f"Es gibt kein {name}")
        return self._collection(request, path, name, only)

    def _collection(self, request: Request, path: str, name: str, only: str) -> Response:
        asked, kind = dict(request.query_params), SETS[name]
        state: Row = {"since": 0, "upto": len(self.log), "after": "", "track": False, "asked": asked}
        if token := asked.get("$deltatoken", asked.get("$skiptoken")):
            try:
                state = json.loads(base64.urlsafe_b64decode(token))
            except ValueError:
                return _error(400, "Token", "Das Token ist keines")
            if "$deltatoken" in asked:
                state |= {"since": state["upto"], "upto": len(self.log), "after": ""}
            if state["since"] < self.oldest and state["track"] and state["since"]:
                return _error(410, "Fort", "Die Änderungen davor sind nicht mehr bekannt")
        elif wrong := _unknown(asked, kind):
            return _error(400, "Anfrage", wrong)
        preferences = _preferences(request)
        if "track-changes" in preferences and kind.tracked and "since" in state:
            state["track"] = True
        found = self._entities(name, only, state)
        size = min(int(preferences.get("maxpagesize", self.page)), self.page)
        return self._page(request, path, kind, state, found, size)

    def _entities(self, name: str, only: str, state: Row) -> list[tuple[str, Row | None]]:
        """What a read finds after its last page: (key predicate, entity), in the order it is given."""
        latest: dict[str, tuple[int, Row | None]] = {}
        for number, (set_name, key, row) in enumerate(self.log[: state["upto"]], 1):
            if set_name == name:
                latest[key] = (number, row)
        holds, order = _filter(state["asked"].get("$filter", "")), state["asked"].get("$orderby", "").split(" ")[0]
        found = [
            (key, row)
            for key, (number, row) in latest.items()
            if number > state["since"]
            and (row is not None or state["since"])
            and (row is None or (holds(row) and only in ("", row.get("Region"))))
        ]
        found.sort(key=lambda each: (str((each[1] or {}).get(order, "")) if order else "", each[0]))
        found = found[: int(state["asked"].get("$top", len(found)))]
        places = [f"{str((row or {}).get(order, '')) if order else ''}|{key}" for key, row in found]
        return [each for place, each in zip(places, found, strict=True) if place > state["after"]]

    def _page(
        self, request: Request, path: str, kind: EntitySet, state: Row, found: list[tuple[str, Row | None]], size: int
    ) -> Response:
        version = min(request.headers.get("odata-maxversion", "4.01"), self.newest_version)
        at = "@odata." if version == "4.0" else "@"
        page, more = found[:size], len(found) > size
        name = path.rpartition("/")[2]
        # Seen from the context URL, which is the service's root whatever the request's path is.
        body: Row = {f"{at}context": f"{request.base_url}{ROOT[1:]}$metadata#{name}"}
        if state["asked"].get("$count") == "true" and not state["after"]:
            body[f"{at}count"] = len(found)
        columns = [c for c in state["asked"].get("$select", ",".join(kind.columns)).split(",") if c]
        body["value"] = [
            _written(name, kind, key, row, columns, version, number) for number, (key, row) in enumerate(page)
        ]
        if more:
            order = state["asked"].get("$orderby", "").split(" ")[0]
            key, row = page[-1]
            after = f"{str((row or {}).get(order, '')) if order else ''}|{key}"
            if self.circle and state["after"]:
                after = state["after"]
            body[f"{at}nextLink"] = f"{quote(path)}?$skiptoken={_token(state | {'after': after})}"
        elif state["track"]:
            body[f"{at}deltaLink"] = f"{quote(path)}?$deltatoken={_token(state)}"
        applied = [f"maxpagesize={size}"]
        if state["track"]:
            applied.append("odata.track-changes" if version == "4.0" else "track-changes")
        return JSONResponse(body, headers={"OData-Version": version, "Preference-Applied": ", ".join(applied)})


def _written(
    name: str, kind: EntitySet, key: str, row: Row | None, columns: list[str], version: str, number: int
) -> Row:
    """An entity, or that one was removed, as the version has it."""
    reference = f"{name}({quote(key, safe=chr(39) + '=,')})"
    if row is not None:
        at = "@odata." if version == "4.0" else "@"
        shown = {column: row.get(column) for column in dict.fromkeys((*kind.keys, *columns))}
        return {f"{at}id": reference, f"{at}etag": 'W/"1"', **shown}
    if version == "4.0":
        return {"@odata.context": f"$metadata#{name}/$deletedEntity", "id": reference, "reason": "deleted"}
    if number % 2:
        return {"@removed": {"reason": "deleted"}, "@id": reference}
    return {"@removed": {"reason": "deleted"}, **_key_of(kind, key)}


def _predicate(kind: EntitySet, row: Row) -> str:
    """The key as a URL has it, not yet encoded: ``7``, ``Mandant='100',Nummer='A''1'``."""
    literals = [str(row[k]) if isinstance(row[k], int) else "'" + row[k].replace("'", "''") + "'" for k in kind.keys]
    return literals[0] if len(literals) == 1 else ",".join(f"{k}={v}" for k, v in zip(kind.keys, literals, strict=True))


def _key_of(kind: EntitySet, predicate: str) -> Row:
    if len(kind.keys) == 1:
        return {kind.keys[0]: json.loads(predicate.replace("'", '"'))}
    found = dict(re.findall(r"(\w+)='((?:[^']|'')*)'", predicate))
    return {name: found[name].replace("''", "'") for name in kind.keys}


def _filter(text: str) -> Callable[[Row], bool]:
    """``Field ge TIME`` and ``Field le TIME``, joined by and."""
    terms = [re.fullmatch(r"(\w+) (ge|le) (\S+)", term) for term in text.split(" and ")] if text else []

    def holds(row: Row) -> bool:
        for term in terms:
            assert term is not None
            value, bound = dt.datetime.fromisoformat(row[term[1]]), dt.datetime.fromisoformat(term[3])
            if not (value >= bound if term[2] == "ge" else value <= bound):
                return False
        return True

    return holds


def _unknown(asked: Mapping[str, str], kind: EntitySet) -> str:
    """Why the query options can't be answered, "" if they can."""
    for option, value in asked.items():
        if option.startswith("$") and option not in ("$select", "$filter", "$orderby", "$count", "$format", "$top"):
            return f"{option} wird nicht unterstützt"
        if option == "$select" and not set(value.split(",")) <= set(kind.columns):
            return f"$select={value}"
        if option == "$filter" and not all(re.fullmatch(r"\w+ (ge|le) \S+", term) for term in value.split(" and ")):
            return f"$filter={value}"
    return ""


def _preferences(request: Request) -> dict[str, str]:
    """RFC 7240; the prefix odata. is optional."""
    said = ",".join(request.headers.getlist("prefer"))
    pairs = (each.strip().removeprefix("odata.").partition("=") for each in said.split(",") if each.strip())
    return {name: value for name, _, value in pairs}


def _token(state: Row) -> str:
    return base64.urlsafe_b64encode(json.dumps(state).encode()).decode()


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message, "target": "$metadata"}}, status)

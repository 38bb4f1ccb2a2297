"""SAP Gateway's OData V2, as far as a reader of whole tables meets it.

Sources: OData 2.0 JSON format; SAP Help, "Delta Query Support" and "ODP-based data extraction via
OData". V2's JSON has no tombstones; services based on ODP, as this one, tell of a deletion by a row
whose ODQ_CHANGEMODE is D. Other rows of a delta say U: whether one is new is not told. Atom is
not offered.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flockiq.local.samples import odata
from flockiq.local.samples.control import Control, disfigure, misbehave, same
from flockiq.local.samples.erp import Erp, date
from flockiq.local.samples.life import Life
from flockiq.local.samples.odata import BadQuery
from flockiq.local.samples.store import Body, Record

SERVICE = "ZFLOCK_SRV"
ROOT = f"/sap/opu/odata/sap/{SERVICE}"
USER = "FLOCKIQ"
PAGE_ROWS = 1_000
TOKEN_LIFETIME_S = 86_400.0

_TYPES = {"CustomerSet": "Customer", "SalesOrderSet": "SalesOrder", "InvoiceSet": "Invoice"}
_ODQ = ("ODQ_CHANGEMODE", "ODQ_ENTITYCNTR")
_TEXT = 'Type="Edm.String"'
_EDM = {
    "OrderDate": 'Type="Edm.DateTime" Precision="0"',
    "DueDate": 'Type="Edm.DateTime" Precision="0"',
    "LastChange": 'Type="Edm.DateTime" Precision="3"',
    "CreditLimit": 'Type="Edm.Decimal" Precision="16" Scale="2"',
    "NetAmount": 'Type="Edm.Decimal" Precision="16" Scale="2"',
    "ODQ_ENTITYCNTR": 'Type="Edm.Decimal" Precision="19" Scale="0"',
    "Amount": 'Type="Edm.Decimal" Precision="16" Scale="2"',
}
_ISSUED = "%Y%m%d%H%M%S"
_DELTA_TOKEN = re.compile(r"'?([0-9A-F]{32})_(\d{14})'?")
_SKIP_TOKEN = re.compile(r"'?(\d{1,18})-(\d{1,18})-(\d{1,18})'?")
_KEY = re.compile(r"(\w+)\('([^']{1,40})'\)")


class Refusal(Exception):
    """An answer other than 200, in V2's error shape."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        now = datetime.now(UTC)
        inner = {
            "application": {
                "component_id": "",
                "service_namespace": "/SAP/",
                "service_id": SERVICE,
                "service_version": "0001",
            },
            "transactionid": uuid.uuid4().hex.upper(),
            "timestamp": f"{now:%Y%m%d%H%M%S}.{now.microsecond:06d}0",
            "errordetails": [],
        }
        error = {"code": code, "message": {"lang": "en", "value": message}, "innererror": inner}
        self.response = _json({"error": error}, status, {name.replace("_", "-"): v for name, v in headers.items()})


class Reading(NamedTuple):
    """Where a reader stands: versions over ``since`` up to ``upto``, after ``last``."""

    since: int
    upto: int
    last: int


class Gateway:
    """Answers requests from the ERP's store."""

    def __init__(self, life: Life, erp: Erp, control: Control) -> None:
        self.life, self.erp, self.store, self.control = life, erp, life.store, control

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("/_control", self._steer, methods=["GET", "POST"]),
            Route(ROOT + "/{segment:path}", self._get),
        ]

    async def _steer(self, request: Request) -> Response:
        try:
            self._authenticate(request)
        except Refusal as refusal:
            return refusal.response
        return await self.control.endpoint(request)

    async def _get(self, request: Request) -> Response:
        self.life.requested()
        try:
            self._authenticate(request)
            segment = request.path_params["segment"]
            if segment == "$metadata":
                return Response(self._metadata(), media_type="application/xml", headers={"DataServiceVersion": "2.0"})
            _check_format(request)
            if not segment:
                return _json({"d": {"EntitySets": list(self.erp.streams)}})
            stream, key = self._resource(segment)
            fault = self.control.fault(stream)
            if fault and fault != "wrong_types":
                return await misbehave(fault, request)
            return self._one(request, stream, key) if key else self._many(request, stream)
        except Refusal as refusal:
            return refusal.response
        except BadQuery as error:
            return Refusal(400, "005056A509B11EE1B9A8FEC11C21D78E", str(error)).response

    def _resource(self, segment: str) -> tuple[str, str]:
        keyed = _KEY.fullmatch(segment)
        stream, key = (keyed[1], keyed[2]) if keyed else (segment, "")
        if stream not in self.erp.streams:
            raise Refusal(404, "/IWBEP/CM_MGW_RT/020", f"Resource not found for the segment '{stream[:80]}'.")
        return stream, key

    def _authenticate(self, request: Request) -> None:
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            given = ""
        if scheme.lower() != "basic" or not same(given, f"{USER}:{self.life.options.secret}"):
            realm = 'Basic realm="SAP NetWeaver Application Server"'
            raise Refusal(401, "401", "Logon failed", WWW_Authenticate=realm)

    # ── reading ──

    def _one(self, request: Request, stream: str, key: str) -> Response:
        record = self.store.get(stream, key)
        if record is None:
            raise Refusal(404, "/IWBEP/CM_MGW_RT/020", f"Resource not found for segment '{_TYPES[stream]}'")
        return _json({"d": self._shown(request, record)})

    def _many(self, request: Request, stream: str) -> Response:
        query = request.query_params
        body: Body = {}
        if any(name in query for name in ("$filter", "$orderby", "$top", "$skip")):
            body["results"], counted = self._queried(request, stream)
        else:
            body, counted = self._tracked(request, stream)
        if query.get("$inlinecount") == "allpages":
            body = {"__count": str(counted), **body}
        return _json({"d": body})

    def _tracked(self, request: Request, stream: str) -> tuple[Body, int]:
        query = request.query_params
        reading = self._reading(query)
        found = self.store.between(stream, reading.last, reading.upto, PAGE_ROWS + 1, tombstones=reading.since > 0)
        page, more = found[:PAGE_ROWS], len(found) > PAGE_ROWS
        properties = self._select(stream, query.get("$select"))
        body: Body = {"results": [_only(self._shown(request, record, reading.since), properties) for record in page]}
        given = "".join(
            f"{name}={quote(query[name], safe=',')}&"
            for name in ("$format", "$select", "$inlinecount", "sap-client")
            if name in query
        )
        here = f"{_base(request)}/{stream}?{given}"
        if more:
            body["__next"] = f"{here}$skiptoken={quote(f"'{reading.since}-{reading.upto}-{page[-1].version}'")}"
        else:
            token = f"'{reading.upto:032X}_{datetime.now(UTC).strftime(_ISSUED)}'"
            body["__delta"] = f"{here}!deltatoken={quote(token)}"
            self.life.noticed(stream)
        counted = 0
        if query.get("$inlinecount") == "allpages":
            counted = len(self.store.between(stream, reading.since, reading.upto, -1, tombstones=reading.since > 0))
        return body, counted

    def _reading(self, query: Mapping[str, str]) -> Reading:
        now = self.store.version
        if token := query.get("$skiptoken"):
            found = _SKIP_TOKEN.fullmatch(token)
            if found is None:
                raise BadQuery("Invalid $skiptoken")
            return Reading(*map(int, found.groups()))
        if token := query.get("!deltatoken"):
            found = _DELTA_TOKEN.fullmatch(token)
            if found is None or int(found[1], 16) > now:
                raise BadQuery("Invalid delta token")
            since, issued_s = int(found[1], 16), odata.issued(found[2], _ISSUED)
            lifetime_s = float(self.store.fact("token_lifetime_s", default=TOKEN_LIFETIME_S))
            expired_upto = int(self.store.fact("expired_upto", default=-1))
            if since <= expired_upto or time.time() - issued_s > lifetime_s:
                raise Refusal(410, "/IWBEP/CM_MGW_RT/021", "The delta token has expired; request all data again")
            return Reading(since, now, since)
        return Reading(0, now, 0)

    def _queried(self, request: Request, stream: str) -> tuple[list[Body], int]:
        query, known = request.query_params, self._properties(stream)
        rows: list[odata.Row] = [self._shown(request, record) for record in self.store.all(stream)]
        if condition := query.get("$filter"):
            rows = list(filter(odata.predicate(condition, known), rows))
        if order := query.get("$orderby"):
            rows = odata.ordered(rows, order, known)
        counted = len(rows)
        skip = odata.count(query.get("$skip"), "$skip", 10**9) or 0
        top = odata.count(query.get("$top"), "$top", PAGE_ROWS)
        properties = self._select(stream, query.get("$select"))
        page = rows[skip : skip + (PAGE_ROWS if top is None else top)]
        return [_only(row, properties) for row in page], counted

    # ── records ──

    def _properties(self, stream: str) -> frozenset[str]:
        record = self.store.near(stream, "")
        return frozenset((*(record.body if record else {}), self.erp.primary[stream], "LastChange", *_ODQ))

    def _select(self, stream: str, text: str | None) -> list[str] | None:
        if not text:
            return None
        properties = [name.strip() for name in text.split(",")]
        if unknown := [name for name in properties if name not in self._properties(stream)]:
            raise BadQuery(f"Property {unknown[0][:80]} not found in type {_TYPES[stream]}")
        return properties

    def _shown(self, request: Request, record: Record, since: int = 0) -> Body:
        place, primary = f"{_base(request)}/{record.stream}('{record.key}')", self.erp.primary[record.stream]
        fields = {primary: record.key, **fields_of(record)}
        if self.control.fault(record.stream) == "wrong_types":
            fields = disfigure(fields, frozenset((primary, "LastChange")))
        mode, counter = ("D", "-1") if record.deleted else ("U", "0") if since else ("", "1")
        return {
            "__metadata": {"id": place, "uri": place, "type": f"{SERVICE}.{_TYPES[record.stream]}"},
            **fields,
            "ODQ_CHANGEMODE": mode,
            "ODQ_ENTITYCNTR": counter,
        }

    def _metadata(self) -> str:
        types, sets = [], []
        for stream in self.erp.streams:
            name, key = _TYPES[stream], self.erp.primary[stream]
            properties = "".join(
                f'<Property Name="{field}" {_EDM.get(field, _TEXT)} Nullable="{str(field != key).lower()}"/>'
                for field in sorted(self._properties(stream))
            )
            types.append(f'<EntityType Name="{name}"><Key><PropertyRef Name="{key}"/></Key>{properties}</EntityType>')
            sets.append(f'<EntitySet Name="{stream}" EntityType="{SERVICE}.{name}"/>')
        return (
            '<?xml version="1.0" encoding="utf-8"?>'
            '<edmx:Edmx Version="1.0" xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx">'
            '<edmx:DataServices m:DataServiceVersion="2.0" '
            'xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata">'
            f'<Schema Namespace="{SERVICE}" xmlns="http://schemas.microsoft.com/ado/2008/09/edm">{"".join(types)}'
            f'<EntityContainer Name="{SERVICE}_Entities" m:IsDefaultEntityContainer="true">{"".join(sets)}'
            "</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"
        )


def fields_of(record: Record) -> Body:
    """A record's own fields as the service shows them, its key aside."""
    return {**record.body, "LastChange": date(record.modified_us)}


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/") + ROOT


def _check_format(request: Request) -> None:
    accepted = request.headers.get("accept", "")
    if request.query_params.get("$format") != "json" and "application/json" not in accepted:
        message = "Atom is not offered: ask with $format=json or Accept: application/json"
        raise Refusal(406, "/IWFND/CM_MGW/406", message)


def _only(row: odata.Row, properties: list[str] | None) -> Body:
    return dict(row) if properties is None else {name: row[name] for name in ("__metadata", *properties, *_ODQ)}


def _json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(body, status, {"DataServiceVersion": "2.0", **(headers or {})})

"""Salesforce's Bulk API 2.0 as far as query jobs go: submitted, waited for, read by locator, aborted, deleted.

As developer.salesforce.com has it ("Bulk API 2.0 Query"): results are CSV, always compressed, in the
delimiter and line ending of the job; ``Sforce-Locator`` is the word null on the last page; a job can be
deleted once it has ended, and is gone after a while; one API version throughout. It understands the
SOQL that we send and refuses everything else.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.capture.peers.salesforce import described

_SOQL: Final = re.compile(
    r"SELECT ([\w,]+) FROM (\w+)"
    r"(?: WHERE SystemModstamp >= (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z)"
    r"(?: AND SystemModstamp < (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z))?)?(?: LIMIT (\d+))?"
)
_DELIMITERS: Final = {"COMMA": ",", "TAB": "\t", "PIPE": "|", "SEMICOLON": ";", "CARET": "^", "BACKQUOTE": "`"}
_ENDS: Final = {"LF": "\n", "CRLF": "\r\n"}
_KNOWN: Final = ("Id", "Name", "SystemModstamp", "IsDeleted")
_ENDED: Final = ("JobComplete", "Failed", "Aborted")

Row = dict[str, str]


@dataclass
class QueryJob:
    """A job, with the rows as they were when it was submitted."""

    id: str
    version: str
    body: dict[str, str]
    fields: list[str]
    rows: list[Row]
    looks: int = 0
    state: str = "UploadComplete"
    error: str = ""


@dataclass
class SalesforceBulk:
    """An org with accounts. A job is ready at look number ``takes`` at its state."""

    takes: int = 2
    cap: int = 3  # most records a page holds, whatever is asked for
    rows: dict[str, Row] = field(default_factory=dict)
    jobs: dict[str, QueryJob] = field(default_factory=dict)
    submitted: list[dict[str, str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)  # "GET 2/results", by the job's number
    locators: list[str] = field(default_factory=list)
    answers: list[Response | None] = field(default_factory=list)  # instead of the usual, in order
    failing: str = ""  # why jobs fail that are submitted now
    headerless: bool = False  # results without a record have not even a header
    lost: int = 0  # records left out of the results

    def __post_init__(self) -> None:
        base = "/services/data/{version}/jobs/query"
        self.app = Starlette(
            routes=[
                Route("/services/data/v61.0/sobjects/Account/describe", described),
                Route(base, self._submit, methods=["POST"]),
                Route(base + "/{job}", self._job, methods=["GET", "PATCH", "DELETE"]),
                Route(base + "/{job}/results", self._results, methods=["GET"]),
            ]
        )

    def put(self, number: int, minute: int, *, deleted: bool = False, name: str = "") -> None:
        """Write an account."""
        key = f"001{number:015}"
        at = f"2026-03-01T10:{minute:02}:00.123Z"
        self.rows[key] = {
            "Id": key,
            "Name": name or f"C{number}",
            "SystemModstamp": at,
            "IsDeleted": str(deleted).lower(),
        }

    async def _submit(self, request: Request) -> Response:
        if (other := self._instead(request, "")) is not None:
            return other
        body: dict[str, str] = await request.json()
        self.submitted.append(body)
        soql = _SOQL.fullmatch(body["query"])
        if soql is None or not set(soql[1].split(",")) <= set(_KNOWN) or soql[2] != "Account":
            return _refused(400, "MALFORMED_QUERY", f"unexpected token: {body['query']}")
        rows = [row for row in self.rows.values() if body["operation"] == "queryAll" or row["IsDeleted"] == "false"]
        if since := soql[3]:
            least = since if "." in since else since.replace("Z", ".000Z")
            rows = [row for row in rows if row["SystemModstamp"] >= least]
        if until := soql[4]:
            most = until if "." in until else until.replace("Z", ".000Z")
            rows = [row for row in rows if row["SystemModstamp"] < most]
        number = len(self.submitted)
        job = QueryJob(f"750R{number:014}", request.path_params["version"], body, soql[1].split(","), rows)
        job.rows = job.rows[: int(soql[5])] if soql[5] else job.rows
        job.error = self.failing
        self.jobs[job.id] = job
        return JSONResponse(self._info(job))

    async def _job(self, request: Request) -> Response:
        if (other := self._instead(request, "")) is not None:
            return other
        job = self.jobs.get(request.path_params["job"])
        if job is None:
            return _refused(404, "NOT_FOUND", "The requested resource does not exist")
        if request.method == "DELETE":
            if job.state not in _ENDED:
                return _refused(400, "API_ERROR", "Error encountered when deleting the job: it is not terminated")
            del self.jobs[job.id]
            return Response(status_code=204)
        if request.method == "PATCH":
            if job.state in _ENDED or await request.json() != {"state": "Aborted"}:
                return _refused(400, "INVALIDJOBSTATE", "Invalid job state")
            job.state = "Aborted"
            return JSONResponse(self._info(job))
        job.looks += 1
        if job.state not in _ENDED:
            job.state = "InProgress"
            if job.looks >= self.takes:
                job.state = "Failed" if job.error else "JobComplete"
        return JSONResponse(self._info(job))

    async def _results(self, request: Request) -> Response:
        if (other := self._instead(request, "/results")) is not None:
            return other
        job = self.jobs.get(request.path_params["job"])
        if job is None:
            return _refused(404, "NOT_FOUND", "The requested resource does not exist")
        if job.version != request.path_params["version"]:
            return _refused(409, "API_ERROR", "Use the API version that the job was created with")
        if job.state != "JobComplete":
            return _refused(400, "INVALIDJOBSTATE", f"Job is in state {job.state}")
        rows = job.rows[: len(job.rows) - self.lost]
        locator = request.query_params.get("locator", "L0000")
        self.locators.append(locator)
        start = int(locator[1:]) if re.fullmatch(r"L\d{4}", locator) else -1
        if not 0 <= start <= len(rows):
            return _refused(400, "API_ERROR", f"Invalid locator: {locator}")
        page = rows[start : start + min(int(request.query_params["maxRecords"]), self.cap)]
        after = start + len(page)
        headers = {
            "Sforce-Locator": f"L{after:04}" if after < len(rows) else "null",
            "Sforce-NumberOfRecords": str(len(page)),
            "Sforce-Limit-Info": "api-usage=18/15000",
            "Content-Encoding": "gzip",
        }
        return Response(gzip.compress(self._csv(job, page)), media_type="text/csv", headers=headers)

    def _csv(self, job: QueryJob, page: list[Row]) -> bytes:
        if not page and self.headerless:
            return b""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(
            text,
            job.fields,
            delimiter=_DELIMITERS[job.body.get("columnDelimiter", "COMMA")],
            lineterminator=_ENDS[job.body.get("lineEnding", "LF")],
            quoting=csv.QUOTE_ALL,
            extrasaction="ignore",
        )
        writer.writeheader()
        writer.writerows(page)
        return text.getvalue().encode()

    def _instead(self, request: Request, tail: str) -> Response | None:
        job = request.path_params.get("job", "")
        self.calls.append(f"{request.method} {int(job[4:])}{tail}" if job else "POST")
        if request.headers.get("authorization") != "Bearer correct horse":
            return _refused(401, "INVALID_SESSION_ID", "Session expired or invalid")
        return self.answers.pop(0) if self.answers else None

    @staticmethod
    def _info(job: QueryJob) -> dict[str, Any]:
        done = job.state == "JobComplete"
        return {
            "id": job.id,
            "operation": job.body["operation"],
            "object": "Account",
            "state": job.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": 61.0,
            "jobType": "V2Query",
            "lineEnding": job.body.get("lineEnding", "LF"),
            "columnDelimiter": job.body.get("columnDelimiter", "COMMA"),
            "numberRecordsProcessed": len(job.rows) if done else 0,
        } | ({"errorMessage": job.error} if job.state == "Failed" else {})


def _refused(status: int, code: str, message: str) -> Response:
    return JSONResponse([{"errorCode": code, "message": message}], status)

"""What the Kusto clients' exceptions mean here, and whether another try may mend them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.kusto.data.exceptions import (
    KustoApiError,
    KustoAuthenticationError,
    KustoBlobError,
    KustoError,
    KustoMultiApiError,
    KustoNetworkError,
    KustoServiceError,
    KustoThrottlingError,
)
from azure.kusto.ingest.exceptions import KustoQueueError

from flockiq.shared.adapters.azure.identity import CLIENT_ID
from flockiq.shared.adapters.azure.retries import Verdict
from flockiq.shared.errors import QueryError, StoreUnavailable

QUERY: Final = "Kusto__queryUri"
INGEST: Final = "Kusto__ingestUri"

_UNAUTHORIZED, _FORBIDDEN, _TOO_LARGE = 401, 403, 413
_LATER: Final = frozenset({401, 408, 429, 500, 502, 503, 504, 520})
_NOT_STREAMED: Final = (
    "StreamingIngestionPolicyNotEnabled",
    "StreamingIngestionDisabledForCluster",
    "UpdatePolicyIncompatible",
)
"""Of an error's code or type, where the table takes rows by the queue alone; Microsoft's newer clients queue then."""

_TOO_LONG: Final = ("FileTooLarge", "InputStreamTooLarge", "PayloadTooLarge")


class Refused(StoreUnavailable):
    """The service will not take these rows: trying again helps once something was mended there."""


class NotStreamed(StoreUnavailable):
    """Rows can't be streamed, but may be queued; ``for_long`` if that is so of every row of the table."""

    def __init__(self, message: str, *, for_long: bool) -> None:
        super().__init__(message)
        self.for_long = for_long


class Verdicts(NamedTuple):
    """Judges what comes of requests to one database of one Eventhouse."""

    uri: str
    database: str

    def of_query(self, error: Exception) -> Verdict:
        """An error of a query: most often it is the query that is wrong."""
        if isinstance(error, KustoMultiApiError) or (
            isinstance(error, KustoApiError) and _status(error) not in {_UNAUTHORIZED, _FORBIDDEN} and _permanent(error)
        ):
            return Verdict(QueryError(said(error)), again=False)
        return self.of(error)

    def of_command(self, text: str, error: Exception) -> Verdict:
        """An error of the command ``text``, which takes an admin."""
        if isinstance(error, KustoServiceError) and _status(error) == _FORBIDDEN:
            wrong = f"the Eventhouse {self.uri} lets only an admin of {self.database} delete. Have one run: {text}"
            return Verdict(Refused(wrong), again=False)
        return self.of(error)

    def of_stream(self, error: Exception) -> Verdict:
        """An error of rows that were streamed: what the queue would take is no refusal."""
        if isinstance(error, KustoServiceError):
            said_so = _names(error)
            for_long = any(name in said_so for name in _NOT_STREAMED)
            if for_long or _status(error) == _TOO_LARGE or any(name in said_so for name in _TOO_LONG):
                why = f"the Eventhouse {self.uri} does not stream them: {said(error)}"
                return Verdict(NotStreamed(why, for_long=for_long), again=False)
        return self.of(error)

    def of(self, error: Exception) -> Verdict:
        """Any error; what came wrong over the wire is never ours alone to know. What is none of theirs is raised."""
        at = f"the Eventhouse {self.uri}"
        match error:
            case KustoAuthenticationError() | ClientAuthenticationError():
                login = f"{at}: no token for it: {said(error)}: check {CLIENT_ID}, or log in with az login"
                return Verdict(StoreUnavailable(login), again=False)
            case KustoBlobError() | KustoQueueError() | KustoNetworkError() | AzureError() | OSError():
                silent = f"{at} did not answer ({type(error).__name__}): check that it can be reached"
                return Verdict(StoreUnavailable(silent), again=True)
            case KustoThrottlingError():
                return Verdict(StoreUnavailable(f"{at} is throttling: see its capacity"), again=True)
            case KustoServiceError() if _status(error) == _FORBIDDEN:
                role = f"{at} refuses this identity: make it Database Ingestor and Viewer of {self.database}"
                return Verdict(Refused(role), again=False)
            case KustoServiceError() if _status(error) in _LATER and not _permanent(error):
                return Verdict(StoreUnavailable(f"{at} answered {_status(error)}: {said(error)}"), again=True)
            case KustoServiceError():
                mend = f"{at} refuses: {said(error)}: has eventhouse/ been deployed to database {self.database}?"
                return Verdict(Refused(mend), again=False)
            case KustoError() | LookupError() | TypeError() | ValueError() | AttributeError():
                strange = f"{at} answers as no Eventhouse does ({type(error).__name__}): check {QUERY} and {INGEST}"
                return Verdict(StoreUnavailable(strange), again=True)
        raise error


def _status(error: KustoServiceError) -> int:
    response: Any = error.http_response
    return int(getattr(response, "status", None) or getattr(response, "status_code", 0) or 0)


def _permanent(error: KustoServiceError) -> bool:
    return isinstance(error, KustoApiError) and bool(error.get_api_error().permanent)


def _names(error: KustoServiceError) -> str:
    """An error's code and type."""
    if not isinstance(error, KustoApiError):
        return ""
    found = error.get_api_error()
    return f"{found.code} {found.type}"


def said(error: Exception) -> str:
    """An SDK's message on one line, short enough for a log."""
    text = str(error)
    if isinstance(error, KustoApiError):
        found = error.get_api_error()
        text = found.description or found.message or text
    return " ".join(text.split())[:500]

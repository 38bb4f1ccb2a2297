"""One storage account: its client, what its answers mean, and when to ask again.

The SDK's own retries are off: what an answer that never came has done is for each adapter to find out, and
``retries.persist`` asks again with jitter and within a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient, ContainerClient, ExponentialRetry

from flockiq.shared.adapters.azure.identity import CLIENT_ID, emulator
from flockiq.shared.adapters.azure.retries import Verdict, persist
from flockiq.shared.errors import ConfigError, Problem, StoreUnavailable

CONNECTION: Final = "Storage"
"""The account's connection, in the Functions host's words: ``Storage__blobServiceUri`` names its blob endpoint;
``Storage`` itself may hold an emulator's connection string."""
BLOB_SERVICE: Final = f"{CONNECTION}__blobServiceUri"
CONTAINERS: Final = f"{CONNECTION}__containers"
"""What the names of this app's containers begin with: ``flockiq`` gives ``flockiq-state`` and ``flockiq-blobs``."""

STATE, BLOBS = "state", "blobs"
WITHIN_S: Final = 30.0
TRY_S: Final = 600.0  # of one try: a snapshot may have gigabytes; silence ends it after ``answer_s``
CONNECT_S: Final = 5.0
ANSWER_S: Final = 30.0
_LATER: Final = frozenset({401, 408, 429, 500, 502, 503, 504})
_NO_CONTAINER: Final = frozenset({"ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"})


class Account:
    """Reaches one storage account, shared by the adapters over it; nothing is opened before its first use.

    What is tried again is tried for ``within_s`` in all; then StoreUnavailable.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        credential: Callable[[], AsyncTokenCredential],
        *,
        within_s: float = WITHIN_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._environment = environment
        self._credential = credential
        self._prefix = environment.get(CONTAINERS, "").strip() or "flockiq"
        self._within_s, self._answer_s = within_s, answer_s
        self._client: BlobServiceClient | None = None
        self._containers: dict[str, ContainerClient] = {}
        self._closed = False

    @property
    def name(self) -> str:
        """What it is called in messages; never a connection string."""
        return self._environment.get(BLOB_SERVICE) or "of the emulator"

    async def do[T](self, operation: str, container: str, work: Callable[[ContainerClient], Awaitable[T]]) -> T:
        """What ``work`` gives, tried again while the service says "not now".

        It may have been done although it is tried again. Other answers (404, 409, 412, 416) raise the SDK's errors.
        """
        # Refused before anything is asked: a closed client would open another session and leave it open.
        if self._closed:
            raise StoreUnavailable(f"the storage account {self.name} has been closed; open it again")
        if container not in self._containers:
            self._containers[container] = self._open().get_container_client(f"{self._prefix}-{container}")
        client = self._containers[container]
        return await persist(
            lambda: work(client),
            lambda error: self._judge(f"{operation} in container {client.container_name}", error),
            within_s=self._within_s,
            what=operation,
            try_s=TRY_S,
        )

    async def close(self) -> None:
        """Close the client; whoever made the credential closes that."""
        self._closed = True
        self._containers.clear()
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    def _open(self) -> BlobServiceClient:
        if self._client is None:
            options: dict[str, Any] = {
                "retry_policy": ExponentialRetry(retry_total=0),
                "connection_timeout": CONNECT_S,
                "read_timeout": self._answer_s,
            }
            text = self._environment.get(CONNECTION, "").strip()
            if text:
                self._client = BlobServiceClient.from_connection_string(emulator(CONNECTION, text), **options)
            else:
                self._client = BlobServiceClient(self._named(), self._credential(), **options)
        return self._client

    def _named(self) -> str:
        uri = self._environment.get(BLOB_SERVICE, "").strip()
        if not uri.startswith("https://"):
            wrong = "it names no storage account"
            raise ConfigError([Problem(BLOB_SERVICE, 0, "", wrong, "https://NAME.blob.core.windows.net")])
        return uri

    def _judge(self, operation: str, error: Exception) -> Verdict:
        """What an error means: raised as it is, if it is the answer to what was asked, or nobody's fault but ours."""
        at = f"the storage account {self.name}"
        match error:
            case HttpResponseError(status_code=403):
                role = f"{at} refuses {operation}: give this identity the role Storage Blob Data Contributor there"
                return Verdict(StoreUnavailable(f"{role}, and let the app's network in"), again=False)
            case ClientAuthenticationError(response=None):
                login = f"{at}: no token for it: {error.message}: check {CLIENT_ID}, or log in with az login"
                return Verdict(StoreUnavailable(login), again=False)
            case HttpResponseError() if _code(error) in _NO_CONTAINER:
                missing = f"{at} can't do {operation}: there is no such container; deploy infra/, which makes it"
                return Verdict(StoreUnavailable(missing), again=False)
            case HttpResponseError() if error.status_code in _LATER:
                busy = f"{at} answered {error.status_code} {_code(error)} to {operation}: see the account's health"
                return Verdict(StoreUnavailable(busy), again=True, least_s=_asked_pause_s(error))
            case HttpResponseError() if error.status_code is not None and error.status_code >= 400:  # noqa: PLR2004 - HTTP's own
                raise error
            case AzureError() | TimeoutError() | ConnectionError():
                silent = f"{at} did not answer {operation} ({type(error).__name__}): check that it can be reached"
                return Verdict(StoreUnavailable(silent), again=True)
        raise error


def no_blob(error: ResourceNotFoundError) -> None:
    """Goes on if it is a blob that is not there; raises the error if it is more: its container, with which all is."""
    if _code(error) in _NO_CONTAINER:
        raise error


def _code(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _asked_pause_s(error: HttpResponseError) -> float:
    """How long a throttling service asks to wait, within reason."""
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    try:
        return min(float(headers.get("Retry-After", "0")), WITHIN_S)
    except ValueError:
        return 0.0

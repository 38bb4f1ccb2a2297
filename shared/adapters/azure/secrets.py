"""Secrets in Key Vault, by managed identity: cached for minutes, and never logged.

A secret that was rotated is seen without a restart: after ``keep_s`` at the latest, or at once by whoever asks for a
``fresh`` one, as a source's 401 makes its reader do. While the vault does not answer, what was read before is
given, for a day at most; a ``fresh`` value is never an old one.

https://learn.microsoft.com/azure/key-vault/general/best-practices and .../general/overview-throttling
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.keyvault.secrets.aio import SecretClient

from flockiq.shared.adapters.azure.identity import CLIENT_ID
from flockiq.shared.adapters.azure.retries import Verdict, persist
from flockiq.shared.errors import ConfigError, NotFound, Problem, StoreUnavailable
from flockiq.shared.secretnames import readable, writable

logger = logging.getLogger("flockiq.azure.secrets")

VAULT: Final = "KeyVault__vaultUri"

KEEP_S: Final = 600.0
STALE_S: Final = 86_400.0
"""How long a secret is given while the vault can't say what it is now."""

HOLD_S: Final = 30.0
"""How long a vault that did not answer is not asked again, where an old value will do."""

WITHIN_S: Final = 20.0
CONNECT_S: Final = 5
ANSWER_S: Final = 10
KEPT: Final = 1_000  # secrets
_LATER: Final = frozenset({401, 408, 429, 500, 502, 503, 504})
_FORBIDDEN: Final = 403
_DISABLED: Final = "SecretDisabled"


class _Refused(StoreUnavailable):
    """The vault answered, and does not let this app in: old values are not given instead."""


class _Kept(NamedTuple):
    value: str
    read: float  # by the monotonic clock
    until: float

    def __repr__(self) -> str:
        return "_Kept(…)"  # a traceback's or debugger's locals shall not show it


class VaultSecrets:
    """Secrets over one Key Vault.

    ConfigError, at the first call, if the settings name none. What is tried again is tried for ``within_s``.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        credential: Callable[[], AsyncTokenCredential],
        *,
        keep_s: float = KEEP_S,
        stale_s: float = STALE_S,
        within_s: float = WITHIN_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._environment = environment
        self._credential = credential
        self._keep_s, self._stale_s = keep_s, stale_s
        self._within_s, self._answer_s = within_s, answer_s
        self._kept: dict[str, _Kept] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._not_before = 0.0  # by the monotonic clock: until then an old value is given at once
        self._client: SecretClient | None = None
        self._closed = False

    async def get(self, name: str, *, fresh: bool = False) -> str:
        """See ``Secrets.get``. A value that is no longer kept is given again while the vault does not answer."""
        asked = time.monotonic()
        async with self._asking[readable(name)]:  # who waits here is given what the first one reads
            kept = self._kept.get(name)
            now = time.monotonic()
            if kept is not None and ((now < kept.until and not fresh) or kept.read > asked):
                return kept.value
            usable = kept is not None and not fresh and now < kept.read + self._stale_s
            if kept is not None and usable and now < self._not_before:
                return kept.value
            try:
                value = await self._read(name, within_s=0.0 if usable else self._within_s)
            except (NotFound, _Refused):
                self._kept.pop(name, None)
                raise
            except StoreUnavailable as error:
                if kept is None or not usable:
                    raise
                self._not_before = time.monotonic() + HOLD_S
                logger.warning("secret %s is given as it was %.0f s ago: %s", name, now - kept.read, error)
                return kept.value
            self._keep(name, value)
            return value

    async def set(self, name: str, value: str) -> None:
        """See ``Secrets.set``: a new version, which is the one that is read from then on."""

        async def write(client: SecretClient) -> None:
            await client.set_secret(name, value)

        async with self._asking[writable(name)]:
            try:
                await self._ask(f"setting secret {name}", write, self._within_s)
            except HttpResponseError as error:
                raise _unwritable(name, error.status_code) from error
            except _Refused as error:
                raise _unwritable(name, _FORBIDDEN) from error
            self._keep(name, value)

    async def close(self) -> None:
        """See ``Secrets.close``; forgets what was read. Whoever made the credential closes that."""
        self._closed = True
        self._kept.clear()
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def _read(self, name: str, *, within_s: float) -> str:
        async def read(client: SecretClient) -> str | None:
            return (await client.get_secret(name)).value

        try:
            value = await self._ask(f"secret {name}", read, within_s)
        except ResourceNotFoundError as error:
            raise NotFound(f"secret {name!r} is not set: set it in {self._vault}") from error
        except HttpResponseError as error:
            if _said(error) == _DISABLED:
                raise NotFound(f"secret {name!r} is disabled: enable or set it in {self._vault}") from error
            raise
        if value is None:
            raise NotFound(f"secret {name!r} has no value: set it in {self._vault}")
        return value

    async def _ask[T](self, what: str, work: Callable[[SecretClient], Awaitable[T]], within_s: float) -> T:
        """What ``work`` gives, tried again while the vault says "not now"; other answers raise the SDK's errors."""
        # A closed client would open another session, and leave it open.
        if self._closed:
            raise StoreUnavailable(f"the key vault {self._vault} has been closed; open it again")
        if self._client is None:
            self._client = SecretClient(
                self._named(),
                self._credential(),
                retry_total=0,
                connection_timeout=CONNECT_S,
                read_timeout=self._answer_s,
            )
        client = self._client
        return await persist(lambda: work(client), lambda error: self._judge(what, error), within_s=within_s, what=what)

    def _keep(self, name: str, value: str) -> None:
        now = time.monotonic()
        # Spread, so that what was read together at the start is not asked for together ever after.
        until = now + self._keep_s * random.uniform(0.75, 1.0)  # noqa: S311 - spreads load
        self._kept.pop(name, None)
        self._kept[name] = _Kept(value, now, until)
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]

    def _judge(self, what: str, error: Exception) -> Verdict:
        """What an error means: raised as it is, if it is the answer to what was asked."""
        at = f"the key vault {self._vault}"
        match error:
            case ClientAuthenticationError(response=None):
                login = f"{at}: no token for it: {error.message}: check {CLIENT_ID}, or log in with az login"
                return Verdict(StoreUnavailable(login), again=False)
            case HttpResponseError(status_code=403) if _said(error) != _DISABLED:
                role = f"{at} refuses {what}: give this identity the role Key Vault Secrets User there"
                return Verdict(_Refused(f"{role}, and let the app's network in"), again=False)
            case HttpResponseError() if error.status_code in _LATER:
                busy = f"{at} answered {error.status_code} to {what}: see its health and its limits"
                return Verdict(StoreUnavailable(busy), again=True, least_s=_asked_pause_s(error))
            case HttpResponseError() if error.status_code is not None:
                raise error
            case AzureError() | TimeoutError() | ConnectionError():
                silent = f"{at} did not answer {what} ({type(error).__name__}): check that it can be reached"
                return Verdict(StoreUnavailable(silent), again=True)
            case ValueError():  # the SDK sends no token to who sends it elsewhere
                return Verdict(
                    _Refused(f"{at} does not ask for a login as a key vault does: check {VAULT}"), again=False
                )
        raise error

    @property
    def _vault(self) -> str:
        return self._environment.get(VAULT, "").strip()

    def _named(self) -> str:
        if not self._vault.startswith("https://"):
            raise ConfigError([Problem(VAULT, 0, "", "it names no key vault", "https://NAME.vault.azure.net/")])
        return self._vault


def _said(error: HttpResponseError) -> str:
    """The code of the vault's answer; the inner one, if there is one, which says more."""
    inner = getattr(error.error, "innererror", None)
    if isinstance(inner, Mapping):
        return str(inner.get("code", ""))
    return str(getattr(error.error, "code", "") or "")


def _asked_pause_s(error: HttpResponseError) -> float:
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    try:
        return min(float(headers.get("Retry-After", "0")), WITHIN_S)
    except ValueError:
        return 0.0


def _unwritable(name: str, status: int | None) -> ConfigError:
    """Why a secret can't be kept."""
    match status:
        case 409:
            wrong, right = "was deleted, and its name is still taken", "recover it, or purge it"
        case 400:
            wrong, right = "is not taken by the key vault", "at most 25 kB of text"
        case _:
            wrong = "may not be written by this identity"
            right = "give it the role Key Vault Secrets Officer on this secret"
    return ConfigError([Problem(f"secret {name}", 0, "", wrong, right)])

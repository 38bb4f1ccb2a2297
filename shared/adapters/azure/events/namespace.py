"""Where the hubs are, who asks them, and what their answers mean."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

import certifi
from azure.core.credentials_async import AsyncTokenCredential
from azure.eventhub.aio import CheckpointStore, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import AuthenticationError, EventHubError

from flockiq.shared.adapters.azure.identity import CLIENT_ID, emulator
from flockiq.shared.adapters.azure.retries import Verdict
from flockiq.shared.errors import BadRecord, ConfigError, FlockIQError, HubUnavailable, NotFound, Problem

CONNECTION = "EventHub"
"""The connection of the triggers, in the Functions host's words: ``EventHub__fullyQualifiedNamespace`` names the
namespace; ``EventHub`` itself may hold an emulator's connection string."""
NAMESPACE = f"{CONNECTION}__fullyQualifiedNamespace"

BUSY_S = 4.0  # what the service asks a client to wait when it is busy
SEND_S = 10.0  # one try of one publication, once its link is open

_BUSY: Final = {"server-busy", "timeout", "resource-limit-exceeded", "container-close"}
_TOO_LARGE = "link:message-size-exceeded"
_GONE: Final = {"not-found", "argument-out-of-range", "entity-disabled"}


class Namespace:
    """One Event Hubs namespace; makes the SDK's clients for it.

    ConfigError, at the first client, if the settings name none or hold a connection string that is no emulator's.
    """

    def __init__(self, environment: Mapping[str, str], credential: Callable[[], AsyncTokenCredential]) -> None:
        self._environment = environment
        self._credential = credential

    @property
    def name(self) -> str:
        """What it is called in messages; never a connection string."""
        return self._environment.get(NAMESPACE) or "of the emulator"

    def producer(self, hub: str) -> EventHubProducerClient:
        """A client that sends to ``hub``."""
        text = self._emulator()
        if text:
            return EventHubProducerClient.from_connection_string(text, eventhub_name=hub, **self._options())
        return EventHubProducerClient(self._named(), hub, self._credential(), **self._options())

    def consumer(
        self, hub: str, group: str, store: CheckpointStore | None = None, **given: Any
    ) -> EventHubConsumerClient:
        """A client that reads ``hub`` for a consumer group; ``store`` shares its partitions with others."""
        options = {"consumer_group": group, "checkpoint_store": store, **self._options(), **given}
        text = self._emulator()
        if text:
            return EventHubConsumerClient.from_connection_string(text, eventhub_name=hub, **options)
        return EventHubConsumerClient(self._named(), hub, credential=self._credential(), **options)

    def judge(self, error: Exception, *, hub: str) -> Verdict:
        """What an SDK's exception means, and whether to try again."""
        where = f"hub {hub} of the Event Hubs namespace {self.name}"
        condition = (error.error or "") if isinstance(error, EventHubError) else ""
        if condition in _GONE:
            return Verdict(NotFound(f"there is no {where}, or no such partition of it: {said(error)}"), again=False)
        if condition == _TOO_LARGE:
            return Verdict(BadRecord(f"{where} takes no publication of this size: {said(error)}"), again=False)
        if isinstance(error, AuthenticationError) or condition == "unauthorized-access":
            hint = f"does the identity ({CLIENT_ID}, or az login) have Event Hubs Data Sender and Receiver there?"
            return Verdict(HubUnavailable(f"{where} does not let this app in; {hint} {said(error)}"), again=True)
        unavailable: FlockIQError = HubUnavailable(f"{where} does not answer as it should: {said(error)}")
        return Verdict(unavailable, again=True, least_s=BUSY_S if condition in _BUSY else 0.0)

    @cached_property
    def _trusted(self) -> ssl.SSLContext:
        """What every connection trusts: as the SDK has it, which reads the file anew for each, some 20 ms of CPU."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(certifi.where())
        return context

    def _options(self) -> dict[str, Any]:
        # One try each, and no wait after it: retries.persist decides on another, with jitter and within a time.
        return {"retry_total": 0, "retry_backoff_factor": 0.0, "ssl_context": self._trusted}

    def _emulator(self) -> str:
        text = self._environment.get(CONNECTION, "")
        return emulator(CONNECTION, text) if text else ""

    def _named(self) -> str:
        name = self._environment.get(NAMESPACE, "")
        if not name:
            raise ConfigError(
                [Problem(NAMESPACE, 0, "", "it is not set", "the namespace: NAME.servicebus.windows.net")]
            )
        return name


def said(error: Exception) -> str:
    """An SDK's message on one line, short enough for a log."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]

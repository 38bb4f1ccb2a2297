"""How a webhook delivery proves where it comes from. Over the raw bytes, in constant time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec

from flockiq.shared.config.webhooks import (
    BusinessCentral,
    HubSpotV3,
    SharedKey,
    Shopify,
    Signature,
    StandardWebhooks,
    Stripe,
)
from flockiq.shared.errors import FlockIQError

_MILLIS: Final = 1_000  # µs
_SECONDS: Final = 1_000_000
_TIMESTAMP: Final = re.compile(r"[0-9]{1,16}")
_MOST_SIGNATURES: Final = 20  # in one header; each costs a comparison
_STANDARD_PREFIX: Final = "whsec_"

# HubSpot signs the URI with these decoded (developers.hubspot.com, "Validating requests", v3).
_DECODED: Final = re.compile(r"%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)


class Unsigned(FlockIQError):
    """The delivery does not prove where it comes from. The reason is for the log, not for the sender."""


class Delivery(NamedTuple):
    """A delivery as it came. Header names are lower case; ``url`` is the one the sender called."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def parameter(self, name: str) -> str | None:
        """A parameter of the query, None unless it is there exactly once."""
        try:
            found = parse_qs(urlsplit(self.url).query, keep_blank_values=True, max_num_fields=100).get(name, [])
        except ValueError:
            return None
        return found[0] if len(found) == 1 else None


def verify(signature: Signature, secrets: Sequence[str], delivery: Delivery, now_us: int) -> None:
    """Unsigned unless the delivery is signed with one of ``secrets``, and just now where it says when."""
    secrets = [secret for secret in secrets if secret]  # an empty one would let everybody in
    match signature:
        case HubSpotV3():
            _hubspot_v3(signature, secrets, delivery, now_us)
        case Shopify():
            _shopify(secrets, delivery)
        case Stripe():
            _stripe(signature, secrets, delivery, now_us)
        case StandardWebhooks():
            _standard(signature, secrets, delivery, now_us)
        case SharedKey():
            _shared_key(signature, secrets, delivery)
        case BusinessCentral():
            _client_state(secrets, delivery)


def hubspot_v3(secret: str, delivery: Delivery, timestamp: str) -> str:
    """The value of X-HubSpot-Signature-v3."""
    url = _DECODED.sub(lambda found: chr(int(found[1], 16)), delivery.url)
    signed = delivery.method.encode() + url.encode() + delivery.body + timestamp.encode()
    return _base64(secret.encode(), signed)


def _hubspot_v3(signature: HubSpotV3, secrets: Sequence[str], delivery: Delivery, now_us: int) -> None:
    timestamp = delivery.headers.get("x-hubspot-request-timestamp", "")
    given = delivery.headers.get("x-hubspot-signature-v3", "")
    if not given or not _TIMESTAMP.fullmatch(timestamp):
        raise Unsigned("it carries no X-HubSpot-Signature-v3 and X-HubSpot-Request-Timestamp")
    _just_now(int(timestamp) * _MILLIS, signature.window, now_us)
    if not _one_of([given], [hubspot_v3(secret, delivery, timestamp) for secret in secrets]):
        raise Unsigned(
            "the signature does not match; see the secret, and that FLOCKIQ_PUBLIC_URL is what the sender calls"
        )


def _shopify(secrets: Sequence[str], delivery: Delivery) -> None:
    """shopify.dev, "Deliver webhooks through HTTPS": base64 of HMAC-SHA256 over the raw body."""
    given = delivery.headers.get("x-shopify-hmac-sha256", "")
    if not given:
        raise Unsigned("it carries no X-Shopify-Hmac-Sha256")
    if not _one_of([given], [_base64(secret.encode(), delivery.body) for secret in secrets]):
        raise Unsigned("the signature does not match; see the app's client secret")


def _stripe(signature: Stripe, secrets: Sequence[str], delivery: Delivery, now_us: int) -> None:
    """docs.stripe.com/webhooks, "Verify webhook signatures manually": hex of HMAC-SHA256 over t, a dot and the body."""
    parts = [part.strip().partition("=") for part in delivery.headers.get("stripe-signature", "").split(",")]
    times = [value for name, _, value in parts if name == "t"]
    given = [value for name, _, value in parts if name == "v1"][:_MOST_SIGNATURES]
    if len(times) != 1 or not _TIMESTAMP.fullmatch(times[0]) or not given:
        raise Unsigned("it carries no Stripe-Signature with t and v1")
    _just_now(int(times[0]) * _SECONDS, signature.window, now_us)
    signed = times[0].encode() + b"." + delivery.body
    if not _one_of(given, [hmac.digest(secret.encode(), signed, hashlib.sha256).hex() for secret in secrets]):
        raise Unsigned("no signature matches; see the endpoint's signing secret")


def _standard(signature: StandardWebhooks, secrets: Sequence[str], delivery: Delivery, now_us: int) -> None:
    """standardwebhooks.com: base64 of HMAC-SHA256 over id, timestamp and body, joined by dots."""
    message = delivery.headers.get("webhook-id", "")
    timestamp = delivery.headers.get("webhook-timestamp", "")
    versions = [each.partition(",") for each in delivery.headers.get("webhook-signature", "").split(" ")]
    given = [value for version, _, value in versions if version == "v1"][:_MOST_SIGNATURES]
    if not message or not _TIMESTAMP.fullmatch(timestamp) or not given:
        raise Unsigned("it carries no webhook-id, webhook-timestamp and webhook-signature with v1")
    _just_now(int(timestamp) * _SECONDS, signature.window, now_us)
    signed = f"{message}.{timestamp}.".encode("utf-8", "replace") + delivery.body
    if not _one_of(given, [_base64(_standard_key(secret), signed) for secret in secrets]):
        raise Unsigned("no signature matches; see the endpoint's secret")


def _standard_key(secret: str) -> bytes:
    """The key in a secret as the specification writes it: whsec_ and base64."""
    try:
        key = base64.b64decode(secret.removeprefix(_STANDARD_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unsigned("the secret is not base64 after whsec_, as Standard Webhooks writes it; correct it") from error
    if not key:
        raise Unsigned("the secret holds no key after whsec_; correct it")
    return key


def _shared_key(signature: SharedKey, secrets: Sequence[str], delivery: Delivery) -> None:
    """learn.microsoft.com, "Use webhooks to create external handlers": HttpHeader, WebhookKey, HttpQueryString."""
    if signature.header is not None:
        given = delivery.headers.get(signature.header.lower())
    else:
        given = delivery.parameter(signature.query or "")
    if not given:
        raise Unsigned("it carries no key where webhook.signature says that it is")
    if not _one_of([given], secrets):
        raise Unsigned("its key is another; see the one that the sender was given")


class _Notification(msgspec.Struct):
    client_state: str = msgspec.field(name="clientState", default="")


class _Notifications(msgspec.Struct):
    value: list[_Notification]


_notifications = msgspec.json.Decoder(_Notifications).decode


def _client_state(secrets: Sequence[str], delivery: Delivery) -> None:
    """learn.microsoft.com, "Working with webhooks in Dynamics 365 Business Central": every notification carries it."""
    try:
        told = _notifications(delivery.body).value
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unsigned("it holds no notifications with a clientState") from error
    if not told or not all([_one_of([each.client_state], secrets) for each in told]):  # noqa: C419 - all are compared, whichever differs
        raise Unsigned("its clientState is another; it changes with the secret at the next renewal")


def _just_now(signed_us: int, window_us: int, now_us: int) -> None:
    """Both ways: a signature from the future could be kept for later."""
    if abs(signed_us - now_us) > window_us:
        raise Unsigned(f"its timestamp is over {window_us // _SECONDS} s from now; see the clocks if it is genuine")


def _base64(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _one_of(given: Iterable[str], right: Sequence[str]) -> bool:
    """Whether any of ``given`` is right. Every pair is compared, each in constant time."""
    found = False
    for each in given:
        for one in right:
            same = hmac.compare_digest(each.encode("utf-8", "replace"), one.encode("utf-8", "replace"))
            found = found or same
    return found

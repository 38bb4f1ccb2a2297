"""How a webhook delivery proves where it comes from. Over the raw bytes, in constant time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from flockiq.shared.config.sources import HubSpotV3
from flockiq.shared.errors import FlockIQError

MOST_SKEW_US: Final = 300_000_000  # both ways: a signature from the future could be kept for later
_TIMESTAMP: Final = re.compile(r"[0-9]{1,16}")

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


def verify(signature: HubSpotV3, secret: str, delivery: Delivery, now_us: int) -> None:
    """Unsigned unless the delivery is signed with ``secret``, and just now."""
    match signature:
        case HubSpotV3():
            _hubspot_v3(secret, delivery, now_us)


def hubspot_v3(secret: str, delivery: Delivery, timestamp: str) -> str:
    """The value of X-HubSpot-Signature-v3."""
    url = _DECODED.sub(lambda found: chr(int(found[1], 16)), delivery.url)
    signed = delivery.method.encode() + url.encode() + delivery.body + timestamp.encode()
    return base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256)).decode()


def _hubspot_v3(secret: str, delivery: Delivery, now_us: int) -> None:
    timestamp = delivery.headers.get("x-hubspot-request-timestamp", "")
    given = delivery.headers.get("x-hubspot-signature-v3", "")
    if not given or not _TIMESTAMP.fullmatch(timestamp):
        raise Unsigned("it carries no X-HubSpot-Signature-v3 and X-HubSpot-Request-Timestamp")
    if abs(int(timestamp) * 1_000 - now_us) > MOST_SKEW_US:
        raise Unsigned("its timestamp is over five minutes from now; see the clocks if it is genuine")
    if not hmac.compare_digest(hubspot_v3(secret, delivery, timestamp).encode(), given.encode("utf-8", "replace")):
        raise Unsigned(
            "the signature does not match; see the secret, and that FLOCKIQ_PUBLIC_URL is what the sender calls"
        )

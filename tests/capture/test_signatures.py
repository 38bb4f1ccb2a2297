"""How deliveries prove where they come from: every kind, genuine and not."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter

from flockiq.capture.signatures import Delivery, Unsigned, verify
from flockiq.shared.config.webhooks import Signature

NOW_S = 1_772_359_200
BODY = b'{"id": 7, "value": [{"clientState": "correct horse"}]}'
URL = "https://app.example/api/webhooks/shop"
KEY = base64.b64encode(b"battery staple!!").decode()
_signature = TypeAdapter[Any](Signature)


def mac(secret: str | bytes, signed: bytes) -> bytes:
    """HMAC-SHA256, computed apart from the code under test."""
    return hmac.new(secret.encode() if isinstance(secret, str) else secret, signed, hashlib.sha256).digest()


def b64(secret: str | bytes, signed: bytes) -> str:
    """The same in base64."""
    return base64.b64encode(mac(secret, signed)).decode()


def hubspot(secret: str, at_s: int = NOW_S, body: bytes = BODY) -> Delivery:
    """As HubSpot signs."""
    stamp = str(at_s * 1_000)
    signed = b64(secret, b"POST" + URL.encode() + body + stamp.encode())
    headers = {"x-hubspot-signature-v3": signed, "x-hubspot-request-timestamp": stamp}
    return Delivery("POST", URL, headers, body)


def shopify(secret: str, _at_s: int = NOW_S, body: bytes = BODY) -> Delivery:
    """As Shopify signs."""
    return Delivery("POST", URL, {"x-shopify-hmac-sha256": b64(secret, body)}, body)


def stripe(secret: str, at_s: int = NOW_S, body: bytes = BODY) -> Delivery:
    """As Stripe signs, with one of the scheme that is only for tests beside it."""
    signed = mac(secret, f"{at_s}.".encode() + body).hex()
    return Delivery("POST", URL, {"stripe-signature": f"t={at_s},v1={signed},v0={'0' * 64}"}, body)


def standard(secret: str, at_s: int = NOW_S, body: bytes = BODY) -> Delivery:
    """As Standard Webhooks says."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(at_s)}
    headers["webhook-signature"] = "v1," + b64(key, f"msg_1.{at_s}.".encode() + body)
    return Delivery("POST", URL, headers, body)


def header_key(secret: str, _at_s: int = NOW_S, body: bytes = BODY) -> Delivery:
    """A key in a header."""
    return Delivery("POST", URL, {"x-our-key": secret}, body)


def query_key(secret: str, _at_s: int = NOW_S, body: bytes = BODY) -> Delivery:
    """A key in the query."""
    return Delivery("POST", f"{URL}?code={secret.replace(' ', '%20')}", {}, body)


def client_state(secret: str, _at_s: int = NOW_S, _body: bytes = BODY) -> Delivery:
    """A notification of Business Central."""
    return Delivery("POST", URL, {}, b'{"value": [{"clientState": "' + secret.encode() + b'"}]}')


Maker = Callable[..., Delivery]
KINDS: dict[str, tuple[dict[str, Any], Maker, str]] = {
    "hubspot_v3": ({}, hubspot, "correct horse"),
    "shopify": ({}, shopify, "correct horse"),
    "stripe": ({}, stripe, "whsec_correct"),
    "standard_webhooks": ({}, standard, "whsec_" + KEY),
    "shared_key": ({"header": "X-Our-Key"}, header_key, "correct horse"),
    "shared_key in the query": ({"query": "code"}, query_key, "correct horse"),
    "business_central": ({}, client_state, "correct horse"),
}
OTHER = "whsec_" + base64.b64encode(b"another one").decode()
TIMED = ("hubspot_v3", "stripe", "standard_webhooks")
SIGNING = (*TIMED, "shopify")


def genuine(name: str, *secrets: str, delivery: Delivery, now_s: float = NOW_S, **more: Any) -> bool:
    """Whether a delivery passes."""
    config = _signature.validate_python(
        {"kind": name.split(maxsplit=1)[0], "secret": {"secret": "token"}} | KINDS[name][0] | more
    )
    try:
        verify(config, secrets or (KINDS[name][2],), delivery, int(now_s * 1e6))
    except Unsigned:
        return False
    return True


@pytest.mark.parametrize("name", KINDS)
def test_a_genuine_delivery_passes_and_one_with_another_secret_does_not(name: str) -> None:
    """Whatever the kind; an empty secret never counts."""
    _, make, secret = KINDS[name]
    assert genuine(name, delivery=make(secret))
    assert not genuine(name, delivery=make(OTHER))
    assert not genuine(name, "", delivery=make("whsec_"))
    assert not genuine(name, delivery=Delivery("POST", URL, {}, BODY.replace(b"correct", b"wrong")))


@pytest.mark.parametrize("name", KINDS)
def test_while_a_secret_is_rotated_both_count(name: str) -> None:
    """Old and new deliveries overlap."""
    _, make, secret = KINDS[name]
    assert genuine(name, OTHER, secret, delivery=make(secret))
    assert genuine(name, secret, OTHER, delivery=make(secret))


@pytest.mark.parametrize("name", SIGNING)
def test_the_signature_covers_every_byte_of_the_body(name: str) -> None:
    """Even space that JSON does not mind."""
    _, make, secret = KINDS[name]
    delivery = make(secret)
    assert not genuine(name, delivery=delivery._replace(body=delivery.body + b" "))


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize(("skew_s", "taken"), [(-299, True), (299, True), (-301, False), (301, False)])
def test_a_timestamp_counts_within_the_window_both_ways(name: str, skew_s: int, *, taken: bool) -> None:
    """An old delivery is a replay; one from the future could be kept for later."""
    _, make, secret = KINDS[name]
    assert genuine(name, delivery=make(secret, NOW_S + skew_s)) is taken


@pytest.mark.parametrize("name", TIMED)
def test_the_window_can_be_set(name: str) -> None:
    """Ten seconds, say."""
    _, make, secret = KINDS[name]
    assert not genuine(name, delivery=make(secret, NOW_S - 11), window="10s")


@pytest.mark.parametrize("name", TIMED)
def test_the_timestamp_is_signed(name: str) -> None:
    """One can't make an old delivery young."""
    _, make, secret = KINDS[name]
    old = make(secret, NOW_S - 3_600)
    headers = {key: value.replace(str(NOW_S - 3_600), str(NOW_S)) for key, value in old.headers.items()}
    assert not genuine(name, delivery=old._replace(headers=headers))


def test_of_several_signatures_one_that_is_right_is_enough() -> None:
    """Stripe and Standard Webhooks sign with the old and the new secret while one is rolled."""
    of_stripe, of_standard = stripe("whsec_correct"), standard("whsec_" + KEY)
    signed = of_stripe.headers["stripe-signature"].replace(",v1=", f",v1={'0' * 64},v1=")
    assert genuine("stripe", delivery=of_stripe._replace(headers={"stripe-signature": signed}))
    several = "v1a,abc v1,AAAA " + of_standard.headers["webhook-signature"]
    headers = {**of_standard.headers, "webhook-signature": several}
    assert genuine("standard_webhooks", delivery=of_standard._replace(headers=headers))


def test_the_specifications_own_example_passes() -> None:
    """standardwebhooks.com publishes one."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    delivery = Delivery("POST", URL, headers, b'{"test": 2432232314}')
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert genuine("standard_webhooks", secret, delivery=delivery, now_s=1_614_265_330)


HOSTILE = {
    "no t": {"stripe-signature": "v1=00"},
    "two t": {"stripe-signature": f"t={NOW_S},t={NOW_S},v1=00"},
    "no number": {"stripe-signature": "t=1e9,v1=00"},
    "no v1": {"stripe-signature": f"t={NOW_S},v0=00"},
    "not ASCII": {"stripe-signature": f"t={NOW_S},v1=\u00fc\ud800"},
    "endless": {"stripe-signature": f"t={NOW_S}" + ",v1=0" * 10_000},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_header_of_nonsense_is_refused(name: str) -> None:
    """Without an error of another kind, and without comparing thousands of signatures."""
    assert not genuine("stripe", delivery=Delivery("POST", URL, HOSTILE[name], BODY))


def test_a_key_that_stands_twice_in_the_query_is_none() -> None:
    """Which one a proxy in between saw is not known."""
    assert not genuine(
        "shared_key in the query", delivery=Delivery("POST", f"{URL}?code=correct%20horse&code=x", {}, BODY)
    )


def test_every_notification_must_carry_the_client_state() -> None:
    """One genuine one beside a forged one proves nothing."""
    for body in (
        b'{"value": [{"clientState": "correct horse"}, {"clientState": "x"}]}',
        b'{"value": [{"clientState": "correct horse"}, {}]}',
        b'{"value": []}',
        b"[]",
        b"{",
    ):
        assert not genuine("business_central", delivery=Delivery("POST", URL, {}, body))

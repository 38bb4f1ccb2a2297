"""What people write of webhooks: how a delivery proves itself, and what of it is the record."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from flockiq.shared.config.durations import UNITS, Duration
from flockiq.shared.config.names import Model
from flockiq.shared.config.secrets import SecretName

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
Path = Annotated[str, Field(min_length=1, max_length=200)]


class Keyed(Model):
    """What every way of signing has: a secret, and for a while another one."""

    secret: Annotated[SecretName, Field(description="The secret that sender and receiver share.")]
    also: Annotated[
        tuple[SecretName, ...],
        Field(max_length=4, description="Further secrets that count too, while one takes another's place."),
    ] = ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of all secrets that count."""
        return tuple(each.secret for each in (self.secret, *self.also))


class Timed(Keyed):
    """A signature that covers a timestamp."""

    window: Annotated[
        Duration,
        Field(
            ge=UNITS["s"],
            le=UNITS["h"],
            description="How far a delivery's timestamp may be from now, both ways; older ones are replays.",
        ),
    ] = 300 * UNITS["s"]


class HubSpotV3(Timed):
    """HubSpot's signature: HMAC-SHA256 over method, URI, body and timestamp."""

    kind: Annotated[Literal["hubspot_v3"], Field(description="HubSpot's X-HubSpot-Signature-v3.")]


class Shopify(Keyed):
    """Shopify's signature: HMAC-SHA256 over the body alone, so the event id is what stops replays."""

    kind: Annotated[Literal["shopify"], Field(description="Shopify's X-Shopify-Hmac-Sha256.")]


class Stripe(Timed):
    """Stripe's signature: HMAC-SHA256 over timestamp and body, several of them while a secret is rolled."""

    kind: Annotated[Literal["stripe"], Field(description="Stripe's Stripe-Signature (t=…,v1=…).")]


class StandardWebhooks(Timed):
    """Standard Webhooks: HMAC-SHA256 over id, timestamp and body (standardwebhooks.com)."""

    kind: Annotated[Literal["standard_webhooks"], Field(description="webhook-id, -timestamp and -signature.")]


class SharedKey(Keyed):
    """A key sent along with every delivery, as Dataverse does: in a header, or in the address."""

    kind: Annotated[Literal["shared_key"], Field(description="A key in a header or in the query.")]
    header: Annotated[HeaderName | None, Field(description="The header that carries the key.")] = None
    query: Annotated[
        str | None, Field(min_length=1, description="The query parameter that carries it; a header is safer.")
    ] = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.header is None) == (self.query is None):
            raise ValueError("needs one place for the key | header: or query:")
        return self


class BusinessCentral(Keyed):
    """Business Central: a clientState in every notification, and a handshake when it subscribes."""

    kind: Annotated[Literal["business_central"], Field(description="Business Central's clientState.")]


Signature = Annotated[
    HubSpotV3 | Shopify | Stripe | StandardWebhooks | SharedKey | BusinessCentral, Field(discriminator="kind")
]


class Subscription(Model):
    """A subscription at Business Central that is made by itself, and renewed before it expires."""

    path: Annotated[str, Field(min_length=1, description="Where subscriptions are, as seen from base_url.")] = (
        "../subscriptions"
    )
    renew_every: Annotated[
        Duration,
        Field(ge=UNITS["m"], le=60 * UNITS["h"], description="How often it is renewed; it expires after three days."),
    ] = 24 * UNITS["h"]


class Webhook(Model):
    """How deliveries to /api/webhooks/{source} are verified and told apart."""

    signature: Annotated[Signature, Field(description="How a delivery proves where it comes from.")]
    delivery_id: Annotated[
        str,
        Field(
            description="The field that identifies an event, so that one told twice counts once; not needed where "
            "a header does (Shopify, Standard Webhooks)."
        ),
    ] = ""
    events: Annotated[int, Field(ge=1, description="Most events in one delivery.")] = 1_000
    events_at: Annotated[str, Field(description="Where in the body the array of events is (a.b); the whole body.")] = ""
    headers: Annotated[
        dict[str, HeaderName],
        Field(default_factory=dict, description="Headers that become fields of the events: field → header."),
    ]
    subscription: Annotated[
        Subscription | None, Field(description="The subscription to keep alive (Business Central).")
    ] = None

    @model_validator(mode="after")
    def _subscribable(self) -> Self:
        if self.subscription is not None and self.signature.kind != "business_central":
            raise ValueError("subscription is for signature kind business_central | others are subscribed by hand")
        return self


class PropertyEvents(Model):
    """A webhook whose events each tell one field's new value."""

    name: Annotated[str, Field(min_length=1, description="The field that holds the changed field's name.")]
    value: Annotated[str, Field(min_length=1, description="The field that holds its new value.")]


class Reread(Model):
    """A webhook whose events only point at a record: the record is read again."""

    get: Annotated[
        str,
        Field(
            min_length=1,
            max_length=500,
            description="What to ask for, seen from base_url. {field} is the event's value, escaped; {field} alone is "
            "a whole address.",
        ),
    ]
    record: Annotated[str, Field(description="Where in the answer the record is (a.b); the whole answer.")] = ""
    many: Annotated[
        dict[str, str],
        Field(default_factory=dict, description="Events that point at a page of records: field → value."),
    ]


class Told(Model):
    """What of a webhook's event is this stream's record."""

    match: Annotated[
        dict[str, str],
        Field(default_factory=dict, description="Events of this stream: field (a.b) → value; * stands for anything."),
    ]
    record: Annotated[str, Field(description="Where in the event the record is (a.b); the event itself.")] = ""
    carry: Annotated[
        dict[str, Path],
        Field(default_factory=dict, description="Fields of the event that the record gets: field → where (a.b)."),
    ]
    partial: Annotated[bool, Field(description="The record holds only what changed.")] = False
    property_events: Annotated[PropertyEvents | None, Field(description="Each event tells one field's value.")] = None
    reread: Annotated[
        Reread | None,
        Field(description="The record is read from the source; always, or if `record` is not in the delivery."),
    ] = None

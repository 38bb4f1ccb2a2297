"""The sample marketing system: contacts, and an event for each property that changes.

It knows many of the people the CRM knows, by the same e-mail addresses. Nothing can be read from
it: what it has to say it sends, and keeps in its outbox until it was taken.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from flockiq.local.samples import story
from flockiq.local.samples.life import Options, Step
from flockiq.local.samples.store import Store
from flockiq.local.samples.truth import Truth
from flockiq.local.samples.universe import COMPANIES, company, person, phone, rng

Event = dict[str, Any]

STAGES = ("subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer")
FIRST_OBJECT, FIRST_EVENT = 10_000_000, 100_000_000
SHARE_NEW = 0.2
FEED, RULE = "marketing/contacts", "feed-silent"
RULE_ALLOWS_S = 10.0

_SUBSCRIPTIONS = {
    "creation": 312_000,
    "email": 312_001,
    "firstname": 312_002,
    "lastname": 312_003,
    "phone": 312_004,
    "lifecyclestage": 312_005,
}


class Marketing:
    """What people do in the marketing system."""

    name = "marketing"
    streams: tuple[str, ...] = ("contacts",)
    edits_a_second = 0.75

    def __init__(self, store: Store, options: Options) -> None:
        self.store, self.options, self.seed = store, options, options.seed
        store.connection.execute(
            "CREATE TABLE IF NOT EXISTS outbox (seq INTEGER PRIMARY KEY, attempts INTEGER, event BLOB)"
        )

    def fill(self) -> None:
        """Nobody at first: people come to be known as they are edited."""

    # ── edits ──

    def edit(self, _number: int, draw: random.Random) -> None:
        """One edit: somebody new, or a property of somebody known. None while the feed is silent."""
        if self.store.fact("silent"):
            return
        index = draw.randrange(COMPANIES)
        known = self.store.near("contacts", str(FIRST_OBJECT + index))
        if known is None or draw.random() < SHARE_NEW:
            self._introduce(index, draw)
        elif draw.random() < 0.6:  # noqa: PLR2004 - stages move more often than phones
            self._tell(known.key, "lifecyclestage", draw.choice(STAGES))
        else:
            self._tell(known.key, "phone", phone("49", f"{draw.randrange(20, 99)}{draw.randrange(10**6, 10**7)}", draw))

    def murmur(self) -> None:
        """One thing about one person: enough for the feed to be heard while nobody edits yet."""
        with self.store.transaction():
            draw = rng(self.seed, "murmur", self.store.fact("events", default=0))
            known = self.store.near("contacts", "")
            if known is None:
                self._create(draw.randrange(COMPANIES), draw)
            else:
                self._tell(known.key, "lifecyclestage", draw.choice(STAGES))

    def _create(self, index: int, draw: random.Random) -> None:
        """The main contact of a company, the address first, since it says who it is.

        HubSpot promises no order between a creation and its properties, so the creation may come second.
        """
        key, email = str(FIRST_OBJECT + index), person(self.seed, index, 0).email
        self._tell(key, "email", email.title() if draw.random() < 0.2 else email)  # noqa: PLR2004 - one in five
        self._send(key, self.store.now_us(), "contact.creation", "creation", changeFlag="CREATED")

    def _introduce(self, index: int, draw: random.Random) -> None:
        """Everything about the main contact of a company that was not told yet."""
        key = str(FIRST_OBJECT + index)
        if self.store.get("contacts", key) is None:
            self._create(index, draw)
        who, of = person(self.seed, index, 0), company(self.seed, index)
        known = self.store.get("contacts", key)
        for name, value in (("firstname", who.first), ("lastname", who.last), ("lifecyclestage", draw.choice(STAGES))):
            if known and known.body.get(name) != value:
                self._tell(key, name, value)
        if known and "phone" not in known.body:
            self._tell(key, "phone", phone(of.dialling, who.phone, draw))

    def _tell(self, key: str, name: str, value: str) -> None:
        known = self.store.get("contacts", key)
        at_us = self.store.put("contacts", key, {**(known.body if known else {}), name: value})
        self._send(key, at_us, "contact.propertyChange", name, propertyName=name, propertyValue=value)

    def _send(self, key: str, at_us: int, kind: str, subscription: str, **details: str) -> None:
        sequence = int(self.store.fact("events", default=0)) + 1
        self.store.remember("events", sequence)
        event = {
            "eventId": FIRST_EVENT + sequence,
            "subscriptionId": _SUBSCRIPTIONS[subscription],
            "portalId": 62_515,
            "appId": 54_321,
            "occurredAt": at_us // 1_000,
            "subscriptionType": kind,
            "objectId": int(key),
            "changeSource": "CRM_UI",
            "sourceId": f"userId:{1_000 + sequence % 7}",
            **details,
        }
        self.store.connection.execute("INSERT INTO outbox VALUES (?, 0, ?)", (sequence, msgspec.json.encode(event)))

    # ── the outbox ──

    def head(self, limit: int) -> list[tuple[int, Event]]:
        """The oldest events that were not taken yet, with their numbers, in order."""
        rows = self.store.connection.execute("SELECT seq, attempts, event FROM outbox ORDER BY seq LIMIT ?", (limit,))
        return [(seq, {**msgspec.json.decode(event), "attemptNumber": attempts}) for seq, attempts, event in rows]

    def taken(self, last: int) -> None:
        """Everything up to the event numbered ``last`` was accepted."""
        with self.store.transaction():
            self.store.connection.execute("DELETE FROM outbox WHERE seq <= ?", (last,))
            self.store.remember("delivered_us", time.time_ns() // 1_000)

    def refused(self, last: int) -> None:
        """Everything up to the event numbered ``last`` was sent in vain."""
        self.store.connection.execute("UPDATE outbox SET attempts = attempts + 1 WHERE seq <= ?", (last,))

    def waiting(self) -> int:
        """How many events were not taken yet."""
        return int(self.store.connection.execute("SELECT count(*) FROM outbox").fetchone()[0])

    # ── the story ──

    def steps(self) -> Sequence[Step]:
        """The feed falls silent, comes back, and is heard again."""
        start, end = story.silence(self.seed)
        return [
            Step("feed-silent", start, self._fall_silent, lambda: not self.waiting()),
            Step("feed-back", end, self._come_back, self._was_silent),
            Step("feed-heard", end, self._heard, self._is_heard),
        ]

    def _fall_silent(self) -> Truth:
        at_us = time.time_ns() // 1_000
        self.store.remember("silent", value=True)
        self.store.remember("silent_us", at_us)
        due_us = at_us + int((RULE_ALLOWS_S + story.DUE_S) * 1e6)
        return _told("feed-silent", "the marketing feed falls silent", "firing", at_us, due_us)

    def _was_silent(self) -> bool:
        """Whether it has been silent for as long as planned, however late that began: its outbox had to empty first."""
        since_us = int(self.store.fact("silent_us", default=0))
        long_enough = time.time_ns() // 1_000 - since_us >= story.SILENCE_S * self.options.pace * 1e6
        return bool(self.store.fact("silent")) and long_enough

    def _come_back(self) -> None:
        self.store.remember("silent", value=False)
        self.store.remember("back_us", time.time_ns() // 1_000)

    def _is_heard(self) -> bool:
        back_us = self.store.fact("back_us")
        return back_us is not None and int(self.store.fact("delivered_us", default=0)) > int(back_us)

    def _heard(self) -> Truth:
        at_us = int(self.store.fact("delivered_us"))
        return _told("feed-back", "the marketing feed is back", "resolved", at_us, at_us + int(story.DUE_S * 1e6))


def _told(told: str, kind: str, expects: Any, at_us: int, due_us: int) -> Truth:
    return Truth(
        id=told,
        kind=kind,
        rule=RULE,
        expects=expects,
        subject_type="feed",
        key=FEED,
        committed_us=at_us,
        due_by_us=due_us,
    )

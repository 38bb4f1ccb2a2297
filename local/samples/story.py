"""The story: what goes wrong, with whom and when. A pure function of the seed.

Four kinds of trouble befall two companies each, and marketing's feed falls silent once. Nobody
edits these companies otherwise, so that each alert has one cause.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from flockiq.local.samples.universe import COMPANIES, company, rng

FIRST_S, LAST_S = 7.0, 20.0
"""Seconds after everything was first read whole within which the story happens."""

SILENCE_AFTER_S = (8.0, 11.0)
SILENCE_S = 18.0
"""Seconds of silence; the rule that watches the feed allows ten."""

DUE_S = 15.0
"""Seconds within which a planted event must have been noticed."""

RULES = frozenset({
    "credit-limit-halved", "deleted-with-open-invoices", "feed-silent", "order-unusual", "payment-terms-disagree",
    "risk-very-high",
})  # fmt: skip
"""The rules that come with the app: they find the story and nothing else. What others find is their authors' affair."""


class Cast(NamedTuple):
    """The companies of the story, by index."""

    halved: tuple[int, int]  # the ERP halves the credit limit, the CRM follows
    terms_crm: int  # payment terms change in the CRM only
    terms_erp: int  # … in the ERP only
    ordering: tuple[int, int]  # an order ten times the usual
    deleted: tuple[int, int]  # the CRM deletes the account while invoices are open


@lru_cache(maxsize=8)
def cast_of(seed: int) -> Cast:
    """Who is in the story of this seed: different companies, known to CRM and ERP alike."""
    known = [i for i in range(COMPANIES) if (of := company(seed, i)).in_crm and of.in_erp and not of.departing]
    a, b, c, d, e, f, g, h = rng(seed, "story").sample(known, 8)
    return Cast((a, b), c, d, (e, f), (g, h))


@lru_cache(maxsize=8)
def reserved(seed: int) -> frozenset[int]:
    """The companies that ordinary edits leave alone."""
    who = cast_of(seed)
    return frozenset((*who.halved, who.terms_crm, who.terms_erp, *who.ordering, *who.deleted))


def moment(seed: int, step: str) -> float:
    """Seconds after everything was first read whole at which a step happens."""
    return rng(seed, "moment", step).uniform(FIRST_S, LAST_S)


def silence(seed: int) -> tuple[float, float]:
    """When the feed falls silent, and when it comes back: seconds after everything was read."""
    start = rng(seed, "silence").uniform(*SILENCE_AFTER_S)
    return start, start + SILENCE_S

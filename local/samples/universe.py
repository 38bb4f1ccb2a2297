"""The business world that all sample systems tell of: companies and people, a pure function of the seed.

No system asks another who its customers are: each works out ``company(seed, index)`` for itself
and writes it down in its own way, as two departments would.
"""

from __future__ import annotations

import hashlib
import math
import random
import unicodedata
import uuid
from functools import lru_cache
from typing import NamedTuple

COMPANIES = 2_000
DAY_US = 86_400_000_000
SPREAD = 0.15
"""Standard deviation of the logarithm of a customer's order values, which are cut at two of it."""

TERMS_DAYS = (30, 14, 45, 60)
"""Payment terms in days; the CRM's code is the place in this list, counted from 1."""

_TAX_PRIME = 899_999_963  # x -> a * x + b is one to one modulo a prime: no two tax ids are equal


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_PLACES = {
    "DE": ("EUR", "49", ("Berlin", "Hamburg", "München", "Köln", "Leipzig", "Würzburg")),
    "AT": ("EUR", "43", ("Wien", "Graz", "Linz", "Innsbruck")),
    "CH": ("CHF", "41", ("Zürich", "Basel", "Bern", "Genève")),
    "FR": ("EUR", "33", ("Paris", "Lyon", "Nîmes", "Besançon")),
    "NL": ("EUR", "31", ("Utrecht", "Rotterdam", "'s-Hertogenbosch")),
    "PL": ("PLN", "48", ("Łódź", "Kraków", "Gdańsk", "Poznań")),
    "DK": ("DKK", "45", ("København", "Aarhus", "Odense")),
    "GB": ("GBP", "44", ("Leeds", "Bristol", "Newcastle upon Tyne")),
}
_FORMS = {
    "DE": ("GmbH", "AG", "GmbH & Co. KG", "e.K."),
    "AT": ("GmbH", "AG", "OG"),
    "CH": ("AG", "GmbH", "SA"),
    "FR": ("S.A.", "S.A.R.L.", "S.A.S."),
    "NL": ("B.V.", "N.V."),
    "PL": ("Sp. z o.o.", "S.A."),
    "DK": ("A/S", "ApS"),
    "GB": ("Ltd.", "PLC", "LLP"),
}
_STEMS = _words(
    "Alder Amber Anker Arden Aster Basalt Birke Blanc Brandt Calder Cedar Corvin Delta Dorn Eiche Elster Falk "
    "Fjord Förster Granit Hafen Halden Harlow Heron Isar Jansen Kestrel Kiefer König Krause Lark Lindqvist Linden "
    "Løvstad Marlow Meyer Müller Möwe Nadel Nordwind Oberon Oriel Østergaard Pawlak Quarz Ravn Reiher Rossi Rowan "
    "Sable Schäfer Seidel Sperber Stern Talbot Tanne Thorne Ulmen Vesper Vogel Wagner Weber Wiśniewski Zander"
)
_BRANCHES = _words(
    "Anlagenbau Apparatebau Automation Bearings Bildung Brewing Ceramics Chemie Components Controls Drives "
    "Electronics Energy Engineering Farben Foods Glas Holding Instruments Kunststoff Logistics Machinery Marine "
    "Medical Metals Möbel Optics Packaging Papier Pharma Plastics Pumps Robotics Software Steel Systems Textil "
    "Tools Trading Valves"
)
_FIRST = _words(
    "Aisha Anna Arjun Astrid Béatrice Bruno Carla Chloé David Elif Emil Émile Freja Georg Grażyna Hana Henrik Ida "
    "Ivo Jan Jürgen Karin Kofi Laura Léa Lukas Małgorzata Maja Marco Mei Nadia Niels Oliver Olga Paul Petra Priya "
    "René Rosa Samuel Sofia Søren Tarek Thomas Ulrike Vera Wei Yusuf Zoë"
)
_LAST = _words(
    "Adler Andersen Bauer Becker Bernard Brown Costa Dąbrowski Dubois Evans Fischer Garcia Haas Hansen Hoffmann "
    "Ivanov Jensen Kaya Keller Kowalski Krüger Lange Lefèvre Maier Marino Martin Nguyen Nowak O'Brien Okafor Patel "
    "Peeters Petit Richter Rossi Sánchez Schmidt Schröder Singh Smith Sørensen Tanaka Vogt Walter Wójcik Yilmaz "
    "Zimmermann"
)
_FOLD = str.maketrans({"ß": "ss", "ø": "oe", "Ø": "oe", "ł": "l", "Ł": "l"})  # what NFKD leaves whole


class Person(NamedTuple):
    """Somebody who works at a company."""

    first: str
    last: str
    email: str
    phone: str  # national digits without a leading zero


class Company(NamedTuple):
    """What is true of a company, before any system writes it down."""

    number: int
    name: str
    tax: str  # nine digits, unique
    country: str
    city: str
    currency: str
    dialling: str
    phone: str  # national digits without a leading zero
    domain: str
    limit: int  # credit limit in its currency
    terms: int  # 1 to 4, see TERMS_DAYS
    level: float  # its usual order value
    in_crm: bool
    in_erp: bool
    departing: bool  # never owes anything, so that its CRM account may be deleted at any time


def rng(*parts: object) -> random.Random:
    """A generator that depends on ``parts`` alone."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).digest()
    return random.Random(int.from_bytes(digest))  # noqa: S311 - made-up data, to be the same each time


def guid(*parts: object) -> str:
    """A version 4 UUID that depends on ``parts`` alone."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).digest()
    return str(uuid.UUID(bytes=digest, version=4))


@lru_cache(maxsize=8)
def _tax_line(seed: int) -> tuple[int, int]:
    draw = rng(seed, "tax")
    return draw.randrange(1, _TAX_PRIME), draw.randrange(_TAX_PRIME)


@lru_cache(maxsize=16_384)
def company(seed: int, index: int) -> Company:
    """The company with this index; there is one for every index from 0."""
    draw = rng(seed, "company", index)
    slope, start = _tax_line(seed)
    country = draw.choice(list(_PLACES))
    currency, dialling, cities = _PLACES[country]
    stem, branch = draw.choice(_STEMS), draw.choice(_BRANCHES)
    place = draw.random()
    departing = index < COMPANIES and draw.random() < 0.03  # noqa: PLR2004 - three in a hundred
    return Company(
        number=index,
        name=f"{stem} {branch} {draw.choice(_FORMS[country])}",
        tax=str(100_000_000 + (slope * index + start) % _TAX_PRIME),
        country=country,
        city=draw.choice(cities),
        currency=currency,
        dialling=dialling,
        phone=f"{draw.randrange(20, 99)}{draw.randrange(1_000_000, 9_999_999)}",
        domain=f"{plain(stem)}-{plain(branch)}-{index}.example",
        limit=draw.choice((5, 10, 15, 20, 25, 40, 50, 75, 100, 150, 250)) * 1_000,
        terms=draw.choice((1, 1, 1, 2, 3, 4)),
        level=round(math.exp(draw.gauss(7.4, 0.7)), 2),
        in_crm=place < 0.97,  # noqa: PLR2004 - three in a hundred are only in the ERP
        in_erp=place >= 0.05,  # noqa: PLR2004 - five in a hundred are only in the CRM
        departing=departing,
    )


def person(seed: int, index: int, number: int) -> Person:
    """The person with this number at the company with this index; number 0 is its main contact."""
    works_at = company(seed, index)
    draw = rng(seed, "person", index, number)
    first, last = draw.choice(_FIRST), draw.choice(_LAST)
    suffix = str(number) if number else ""
    email = f"{plain(first)}.{plain(last)}{suffix}@{works_at.domain}"
    return Person(first, last, email, f"{works_at.phone[:2]}{draw.randrange(1_000_000, 9_999_999)}")


def plain(text: str) -> str:
    """``text`` as it would stand in an e-mail address."""
    folded = unicodedata.normalize("NFKD", text.translate(_FOLD)).encode("ascii", "ignore").decode().lower()
    return "".join(letter if letter.isalnum() or letter == "-" else "" for letter in folded)


def order_amount(works_with: Company, draw: random.Random) -> float:
    """A usual order value: lognormal about the customer's level, never over two deviations off."""
    return round(works_with.level * math.exp(SPREAD * max(-2.0, min(2.0, draw.gauss()))), 2)


def tax_id(of: Company, draw: random.Random) -> str:
    """The tax id as somebody typed it: always the same nine digits."""
    a, b, c = of.tax[:3], of.tax[3:6], of.tax[6:]
    styles = (
        of.tax,
        f"{a} {b} {c}",
        f"{a}-{b}-{c}",
        f"{of.country} {a}.{b}.{c}",
        f"{of.country}{of.tax}",
        f" {a}.{b}.{c} ",
    )
    return draw.choice(styles)


def phone(dialling: str, digits: str, draw: random.Random) -> str:
    """The phone number as somebody typed it."""
    area, number = digits[:2], digits[2:]
    styles = (
        f"+{dialling} {area} {number}",
        f"00{dialling}-{area}-{number}",
        f"+{dialling} ({area}) {number[:3]} {number[3:]}",
    )
    return draw.choice(styles)


def typed_name(of: Company, draw: random.Random) -> str:
    """The name as somebody typed it: case, spaces and punctuation differ, letters never."""
    styles = (of.name, of.name, of.name, of.name.upper(), of.name.replace(".", ""), of.name.replace(" ", "  ", 1))
    return draw.choice(styles)

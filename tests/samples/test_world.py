"""What the sample systems hold, and what people do in them, trips no rule by itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from flockiq.local.samples import story
from flockiq.local.samples.bureau import Bureau
from flockiq.local.samples.crm import Crm
from flockiq.local.samples.erp import FIRST_CUSTOMER, Erp, customer_key, terms_code
from flockiq.local.samples.life import Business, Life, Options
from flockiq.local.samples.marketing import Marketing
from flockiq.local.samples.records import records
from flockiq.local.samples.store import Store
from flockiq.local.samples.truth import folder
from flockiq.local.samples.universe import COMPANIES, SPREAD, company, person

BORN_US = 1_790_000_000_000_000
MANY = 1_500


class World:
    """The three systems in this process, without their protocols."""

    def __init__(self, data: Path, seed: int) -> None:
        options = Options(data=data, seed=seed, secret="", born_us=BORN_US)
        self.data, self.lives = data, {}
        makers: tuple[type[Crm | Erp | Marketing], ...] = (Crm, Erp, Marketing)
        for make in makers:
            store = Store(folder(data) / f"{make.name}.sqlite")
            business: Business = make(store, options)
            self.lives[make.name] = Life(business, store, options)

    def close(self) -> None:
        """Close the stores."""
        for life in self.lives.values():
            life.store.close()


@pytest.fixture(scope="module", params=[1, 20_261])
def edited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world after many thousand edits."""
    world = World(tmp_path_factory.mktemp("world"), request.param)
    for life in world.lives.values():
        life.edit(MANY)
    yield world
    world.close()


def digits(text: str) -> str:
    """The digits of a text."""
    return "".join(letter for letter in text if letter.isdigit())


def letters(text: str) -> str:
    """A text without case, spaces and punctuation."""
    return "".join(filter(str.isalnum, text.casefold()))


def test_the_same_seed_makes_the_same_world_and_another_seed_another(tmp_path: Path) -> None:
    """What there is at first, and what a hundred edits make of it, depends on the seed alone."""
    seen = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        world = World(tmp_path / name, seed)
        for life in world.lives.values():
            life.edit(100)
        world.close()
        changing = {"modifiedon", "LastChange"}
        held = records(tmp_path / name)
        seen.append(
            {
                stream: {key: {f: v for f, v in row.items() if f not in changing} for key, row in rows.items()}
                for stream, rows in held.items()
            }
        )
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]


def test_most_companies_are_in_both_systems_and_some_in_one(edited: World) -> None:
    """The nine digits of the tax id say who is who, however they are written."""
    held = records(edited.data)
    crm = [digits(row["fq_taxid"]) for row in held["crm", "accounts"].values()]
    erp = [digits(row["TaxNumber"]) for row in held["erp", "customers"].values()]
    assert len(crm) == len(set(crm))
    assert len(erp) == len(set(erp))
    assert {len(tax) for tax in crm + erp} == {9}
    assert len(set(crm) & set(erp)) > 1_800
    assert set(crm) - set(erp)
    assert set(erp) - set(crm)
    written = {row["fq_taxid"] for row in held["crm", "accounts"].values()}
    assert any("." in tax for tax in written)
    assert any(tax[:2].isalpha() for tax in written)


def test_ordinary_edits_make_no_source_disagree_enough_for_a_rule(edited: World) -> None:
    """Payment terms agree, credit limits within a percent, names up to case, spaces and punctuation."""
    held = records(edited.data)
    erp = {digits(row["TaxNumber"]): row for row in held["erp", "customers"].values()}
    compared = 0
    for account in held["crm", "accounts"].values():
        customer = erp.get(digits(account["fq_taxid"]))
        if customer is None:
            continue
        compared += 1
        assert customer["PaymentTerms"] == terms_code(account["paymenttermscode"])
        assert math.isclose(account["creditlimit"], float(customer["CreditLimit"]), rel_tol=0.01)
        letters = [
            "".join(filter(str.isalnum, name.casefold())) for name in (account["name"], customer["CustomerName"])
        ]
        assert letters[0] == letters[1]
    assert compared > 1_800


def test_no_ordinary_order_is_unusual_for_its_customer(edited: World) -> None:
    """Values stay within two deviations of the customer's level; everybody has a history."""
    seed = edited.lives["erp"].options.seed
    orders = records(edited.data)["erp", "orders"]
    counts: dict[str, int] = {}
    for order in orders.values():
        level = company(seed, int(order["Customer"]) - FIRST_CUSTOMER).level
        assert abs(math.log(float(order["NetAmount"]) / level)) <= 2 * SPREAD + 0.01
        counts[order["Customer"]] = counts.get(order["Customer"], 0) + 1
    who = story.cast_of(seed)
    assert all(counts[customer_key(number)] >= 8 for number in who.ordering)


def test_no_account_is_deleted_while_its_company_owes(edited: World) -> None:
    """Ordinary deletions in the CRM befall only companies without open invoices in the ERP."""
    seed = edited.lives["crm"].options.seed
    held = records(edited.data)
    owing = {row["Customer"] for row in held["erp", "invoices"].values() if row["Status"] == "OPEN"}
    crm = edited.lives["crm"].business
    assert isinstance(crm, Crm)
    gone = [
        of
        for number in range(COMPANIES)
        if (of := company(seed, number)).in_crm and crm.account_key(number) not in held["crm", "accounts"]
    ]
    assert gone
    assert not owing & {customer_key(of.number) for of in gone}
    assert all(customer_key(number) in owing for number in story.cast_of(seed).deleted)


def test_ordinary_edits_leave_the_companies_of_the_story_alone(edited: World) -> None:
    """Accounts, customers, orders and invoices of the story's companies are as they were at first."""
    seed = edited.lives["crm"].options.seed
    for stream, field in (("CustomerSet", "Customer"), ("SalesOrderSet", "Customer"), ("InvoiceSet", "Customer")):
        for record in edited.lives["erp"].store.all(stream):
            customer = record.key if stream == "CustomerSet" else record.body[field]
            if int(customer) - FIRST_CUSTOMER in story.reserved(seed):
                assert record.modified_us < BORN_US
    crm = edited.lives["crm"].business
    assert isinstance(crm, Crm)
    for number in story.reserved(seed):
        record_now = edited.lives["crm"].store.get("accounts", crm.account_key(number))
        assert record_now is not None
        assert record_now.modified_us < BORN_US


def test_ratings_are_never_alarming_and_exports_are_whole(tmp_path: Path) -> None:
    """Scores stay under 90; every export in the folder is a complete CSV, and no partial one is there."""
    world = World(tmp_path, 3)
    bureau = Bureau(world.lives["marketing"])
    bureau.inbox.mkdir(parents=True)
    for _ in range(20):
        bureau.export()
    world.close()
    exports = sorted(bureau.inbox.iterdir())
    assert len(exports) == 20
    told: dict[str, dict[str, str]] = {}
    for path in exports:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0] == "tax_id,score,rated_at,agency"
        assert 21 <= len(lines) <= 51
        for line in lines[1:]:
            tax, score, rated_at, agency = line.split(",")
            assert 1 <= int(score) < 90
            told[tax] = {"tax_id": tax, "score": score, "rated_at": rated_at, "agency": agency}
    assert told == records(tmp_path)["bureau", "ratings"]


def test_addresses_tell_people_apart() -> None:
    """No two people share an e-mail address, in whatever case; all are plain ASCII."""
    emails = [person(1, number, k).email for number in range(COMPANIES) for k in (0, 1)]
    assert len({email.lower() for email in emails}) == len(emails)
    assert all(email.isascii() for email in emails)

"""The sample CRM: accounts, contacts and opportunities as Dataverse keeps them."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from functools import partial

from flockiq.local.samples import story, truth
from flockiq.local.samples.life import Options, Step
from flockiq.local.samples.store import Body, Record, Store
from flockiq.local.samples.truth import Truth
from flockiq.local.samples.universe import (
    COMPANIES,
    DAY_US,
    Company,
    company,
    guid,
    order_amount,
    person,
    phone,
    rng,
    tax_id,
    typed_name,
)

HISTORY_DAYS = 400
FOLLOWS_S = 0.7
"""How long after the ERP somebody types a halved credit limit into the CRM."""

STAGES = ("1-Qualify", "2-Develop", "3-Propose", "4-Close")
SHARE_WITH_OPPORTUNITY = 0.33


class Crm:
    """What people do in the CRM."""

    name = "crm"
    streams: tuple[str, ...] = ("accounts", "contacts", "opportunities")
    edits_a_second = 2.5
    primary = {"accounts": "accountid", "contacts": "contactid", "opportunities": "opportunityid"}  # noqa: RUF012 - never written

    def __init__(self, store: Store, options: Options) -> None:
        self.store, self.options, self.seed = store, options, options.seed

    # ── at first ──

    def fill(self) -> None:
        """About 1,940 accounts, as many contacts, a third as many opportunities."""
        known = [of for i in range(COMPANIES) if (of := company(self.seed, i)).in_crm]
        started = {of.number: self._past(rng(self.seed, "crm", "since", of.number)) for of in known}
        known.sort(key=lambda of: started[of.number])
        accounts, contacts, opportunities = [], [], []
        for of in known:
            draw = rng(self.seed, "crm", "account", of.number)
            accounts.append((self.account_key(of.number), started[of.number], self._account(of, draw)))
            contacts.append((self.contact_key(of.number, 0), started[of.number], self._contact(of.number, 0, draw)))
            if draw.random() < SHARE_WITH_OPPORTUNITY:
                key = guid(self.seed, "opportunity", of.number, 0)
                opportunities.append((key, started[of.number], self._opportunity(of, draw)))
        self.store.fill("accounts", accounts)
        self.store.fill("contacts", contacts)
        self.store.fill("opportunities", opportunities)
        self.store.remember("companies", COMPANIES)

    def _past(self, draw: random.Random) -> int:
        return self.options.born_us - draw.randrange(HISTORY_DAYS * DAY_US) // 1_000 * 1_000

    def account_key(self, index: int) -> str:
        """The account id of a company."""
        return guid(self.seed, "account", index)

    def contact_key(self, index: int, number: int) -> str:
        """The contact id of a person."""
        return guid(self.seed, "contact", index, number)

    def _account(self, of: Company, draw: random.Random) -> Body:
        return {
            "name": typed_name(of, draw),
            "fq_taxid": tax_id(of, draw),
            "address1_city": of.city,
            "address1_country": of.country,
            "telephone1": phone(of.dialling, of.phone, draw),
            "emailaddress1": f"info@{of.domain}",
            "creditlimit": near_limit(of, draw) if draw.random() < 0.1 else float(of.limit),  # noqa: PLR2004 - one in ten
            "paymenttermscode": of.terms,
            "statecode": 0,
        }

    def _contact(self, index: int, number: int, draw: random.Random) -> Body:
        who, of = person(self.seed, index, number), company(self.seed, index)
        return {
            "firstname": who.first,
            "lastname": who.last,
            "emailaddress1": who.email,
            "telephone1": phone(of.dialling, who.phone, draw),
            "_parentcustomerid_value": self.account_key(index),
            "statecode": 0,
        }

    def _opportunity(self, of: Company, draw: random.Random) -> Body:
        return {
            "name": f"{of.name.split()[1]} {draw.choice(('renewal', 'expansion', 'pilot', 'framework contract'))}",
            "_parentaccountid_value": self.account_key(of.number),
            "estimatedvalue": round(order_amount(of, draw) * draw.randrange(4, 20), 2),
            "stepname": draw.choice(STAGES),
            "statecode": 0,
        }

    # ── ordinary edits ──

    def edit(self, number: int, draw: random.Random) -> None:
        """One edit: mostly a phone number, a stage or the like, now and then a new or deleted record."""
        acts = {
            self._edit_account: 30,
            self._edit_contact: 25,
            self._edit_opportunity: 20,
            self._new_contact: 7,
            self._new_opportunity: 7,
            self._new_account: 4,
            self._delete_contact: 3,
            self._delete_opportunity: 3,
            self._delete_account: 1,
        }
        act = draw.choices(list(acts), list(acts.values()))[0]
        act(number, draw)

    def _any_company(self, draw: random.Random) -> Company | None:
        of = company(self.seed, draw.randrange(int(self.store.fact("companies"))))
        return None if of.number in story.reserved(self.seed) or not of.in_crm else of

    def _change(self, record: Record | None, **fields: str | float) -> None:
        if record is not None:
            self.store.put(record.stream, record.key, {**record.body, **fields})

    def _edit_account(self, _number: int, draw: random.Random) -> None:
        of = self._any_company(draw)
        record = of and self.store.get("accounts", self.account_key(of.number))
        if not of or not record:
            return
        match draw.randrange(4):
            case 0:
                self._change(
                    record, telephone1=phone(of.dialling, f"{of.phone[:2]}{draw.randrange(10**6, 10**7)}", draw)
                )
            case 1:
                self._change(
                    record, emailaddress1=f"{draw.choice(('info', 'office', 'sales', 'accounts'))}@{of.domain}"
                )
            case 2:
                self._change(record, name=typed_name(of, draw))
            case _:
                self._change(record, creditlimit=near_limit(of, draw))

    def _edit_contact(self, number: int, draw: random.Random) -> None:
        record = self.store.near("contacts", guid(draw.random()))
        if record is None:
            return
        if number % 40 == 0:  # people change their names, and their addresses with them: another entity
            name, _, domain = record.body["emailaddress1"].partition("@")
            self._change(record, emailaddress1=f"{name.split('-')[0]}-{number}@{domain}")
        else:
            digits = f"{draw.randrange(20, 99)}{draw.randrange(10**6, 10**7)}"
            self._change(record, telephone1=phone("49", digits, draw))

    def _edit_opportunity(self, _number: int, draw: random.Random) -> None:
        record = self.store.near("opportunities", guid(draw.random()))
        if record and draw.random() < 0.5:  # noqa: PLR2004 - either way
            self._change(record, stepname=draw.choice(STAGES))
        elif record:
            self._change(record, estimatedvalue=round(record.body["estimatedvalue"] * draw.uniform(0.9, 1.1), 2))

    def _new_contact(self, number: int, draw: random.Random) -> None:
        if of := self._any_company(draw):
            self.store.put("contacts", self.contact_key(of.number, number), self._contact(of.number, number, draw))

    def _new_opportunity(self, number: int, draw: random.Random) -> None:
        if of := self._any_company(draw):
            self.store.put(
                "opportunities", guid(self.seed, "opportunity", of.number, number), self._opportunity(of, draw)
            )

    def _new_account(self, number: int, draw: random.Random) -> None:
        index = int(self.store.fact("companies"))
        self.store.remember("companies", index + 1)
        of = company(self.seed, index)
        if of.in_crm:
            self.store.put("accounts", self.account_key(index), self._account(of, draw))
            self.store.put("contacts", self.contact_key(index, number), self._contact(index, number, draw))

    def _delete_contact(self, _number: int, draw: random.Random) -> None:
        if record := self.store.near("contacts", guid(draw.random())):
            self.store.remove(record)

    def _delete_opportunity(self, _number: int, draw: random.Random) -> None:
        if record := self.store.near("opportunities", guid(draw.random())):
            self.store.remove(record)

    def _delete_account(self, _number: int, draw: random.Random) -> None:
        leaving = [i for i in range(COMPANIES) if company(self.seed, i).departing]
        if record := self.store.get("accounts", self.account_key(draw.choice(leaving))):
            self.store.remove(record)

    # ── the story ──

    def steps(self) -> Sequence[Step]:
        """Payment terms change here only; accounts are deleted; halved credit limits follow the ERP's."""
        who = story.cast_of(self.seed)
        return [
            Step(
                "payment-terms-crm",
                story.moment(self.seed, "payment-terms-crm"),
                partial(self._change_terms, who.terms_crm),
            ),
            *(
                Step(
                    f"account-deleted-{n}",
                    story.moment(self.seed, f"account-deleted-{n}"),
                    partial(self._delete, n, index),
                )
                for n, index in enumerate(who.deleted, 1)
            ),
            *(
                Step(f"follow-halved-{n}", 0.0, partial(self._follow, n, index), partial(self._has_halved, n))
                for n, index in enumerate(who.halved, 1)
            ),
        ]

    def waiting(self) -> int:
        """Nothing: it is asked, and sends nothing."""
        return 0

    def _planted(self, index: int) -> tuple[Company, Record]:
        record = self.store.get("accounts", self.account_key(index))
        if record is None:
            raise LookupError(f"account of company {index} is gone, though the story needs it")
        return company(self.seed, index), record

    def _change_terms(self, index: int) -> Truth:
        of, record = self._planted(index)
        changed = of.terms % 4 + 1
        at_us = self.store.put("accounts", record.key, {**record.body, "paymenttermscode": changed})
        return Truth(
            id="payment-terms-crm",
            kind="payment terms changed in the CRM only",
            rule="payment-terms-disagree",
            expects="firing",
            subject_type="company",
            match_key=of.tax,
            keys={"crm/accounts": record.key},
            name=of.name,
            values={"old": of.terms, "new": changed},
            committed_us=at_us,
            due_by_us=at_us + int(story.DUE_S * 1e6),
        )

    def _delete(self, n: int, index: int) -> Truth:
        of, record = self._planted(index)
        at_us = self.store.remove(record)
        return Truth(
            id=f"account-deleted-{n}",
            kind="account deleted in the CRM, invoices open in the ERP",
            rule="deleted-with-open-invoices",
            expects="firing",
            subject_type="company",
            match_key=of.tax,
            keys={"crm/accounts": record.key},
            name=of.name,
            committed_us=at_us,
            due_by_us=at_us + int(story.DUE_S * 1e6),
        )

    def _halved(self, n: int) -> Truth | None:
        return next((told for told in truth.read(self.options.data) if told.id == f"credit-limit-halved-{n}"), None)

    def _has_halved(self, n: int) -> bool:
        told = self._halved(n)
        return told is not None and time.time_ns() / 1e3 > told.committed_us + FOLLOWS_S * 1e6

    def _follow(self, n: int, index: int) -> None:
        _, record = self._planted(index)
        if told := self._halved(n):
            self._change(record, creditlimit=float(told.values["new"]))


def near_limit(of: Company, draw: random.Random) -> float:
    """The credit limit as one department has it: within half a percent, so that nobody need be told."""
    return round(of.limit * (1 + draw.uniform(-0.004, 0.004)), 2)

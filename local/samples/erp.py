"""The sample ERP: customers, sales orders and invoices as an SAP system keeps them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from flockiq.local.samples import story
from flockiq.local.samples.crm import near_limit
from flockiq.local.samples.life import Options, Step
from flockiq.local.samples.store import Body, Record, Store
from flockiq.local.samples.truth import Truth
from flockiq.local.samples.universe import (
    COMPANIES,
    DAY_US,
    TERMS_DAYS,
    Company,
    company,
    order_amount,
    phone,
    rng,
    tax_id,
)

HISTORY_DAYS = 400
ORDERED_DAYS = 120
ORDERS = (8, 10)
"""Orders a customer has at first, at least and at most: enough to know what is usual."""

TIMES_USUAL = 10
HALVED_TO = 0.45
FIRST_CUSTOMER = 100_000


class Erp:
    """What people do in the ERP."""

    name = "erp"
    streams: tuple[str, ...] = ("CustomerSet", "SalesOrderSet", "InvoiceSet")
    edits_a_second = 2.5
    primary = {"CustomerSet": "Customer", "SalesOrderSet": "SalesOrder", "InvoiceSet": "Invoice"}  # noqa: RUF012 - never written

    def __init__(self, store: Store, options: Options) -> None:
        self.store, self.options, self.seed = store, options, options.seed

    # ── at first ──

    def fill(self) -> None:
        """About 1,900 customers, nine orders and two invoices each, in the order they came about."""
        customers: list[tuple[str, int, Body]] = []
        orders: list[tuple[int, Body]] = []
        invoices: list[tuple[int, Body]] = []
        owing = story.cast_of(self.seed).deleted
        for of in (of for i in range(COMPANIES) if (of := company(self.seed, i)).in_erp):
            draw = rng(self.seed, "erp", "customer", of.number)
            customers.append((customer_key(of.number), self._past(draw, HISTORY_DAYS), self._customer(of, draw)))
            for _ in range(draw.randint(*ORDERS)):
                at_us = self._past(draw, ORDERED_DAYS)
                orders.append(
                    (at_us, self._order(of, order_amount(of, draw), at_us, draw.choice(("CONFIRMED", "DELIVERED"))))
                )
            for n in range(2):
                at_us = self._past(draw, ORDERED_DAYS)
                owed = not of.departing and (draw.random() < 0.4 or (n == 0 and of.number in owing))  # noqa: PLR2004 - four in ten
                invoices.append((at_us, self._invoice(of, draw, at_us, "OPEN" if owed else "PAID")))
        by_time = sorted(customers, key=lambda row: row[1])
        self.store.fill("CustomerSet", by_time)
        orders.sort(key=lambda row: row[0])
        self.store.fill("SalesOrderSet", ((number(n), at_us, body) for n, (at_us, body) in enumerate(orders, 1)))
        invoices.sort(key=lambda row: row[0])
        self.store.fill("InvoiceSet", ((number(n), at_us, body) for n, (at_us, body) in enumerate(invoices, 1)))
        self.store.remember("companies", COMPANIES)
        self.store.remember("SalesOrderSet", len(orders))
        self.store.remember("InvoiceSet", len(invoices))

    def _past(self, draw: random.Random, days: int) -> int:
        return self.options.born_us - draw.randrange(days * DAY_US) // 1_000 * 1_000

    def _customer(self, of: Company, draw: random.Random) -> Body:
        return {
            "CustomerName": of.name,
            "TaxNumber": tax_id(of, draw),
            "City": of.city.upper() if draw.random() < 0.1 else of.city,  # noqa: PLR2004 - one in ten
            "Country": of.country,
            "Phone": phone(of.dialling, of.phone, draw),
            "Email": f"info@{of.domain}",
            "CreditLimit": f"{of.limit:.2f}",
            "PaymentTerms": terms_code(of.terms),
        }

    def _order(self, of: Company, amount: float, at_us: int, status: str) -> Body:
        return {
            "Customer": customer_key(of.number),
            "NetAmount": f"{amount:.2f}",
            "Currency": of.currency,
            "OrderDate": day(at_us),
            "Status": status,
        }

    def _invoice(self, of: Company, draw: random.Random, at_us: int, status: str) -> Body:
        return {
            "Customer": customer_key(of.number),
            "Amount": f"{order_amount(of, draw) * 1.19:.2f}",
            "Currency": of.currency,
            "DueDate": day(at_us + TERMS_DAYS[of.terms - 1] * DAY_US),
            "Status": status,
        }

    # ── ordinary edits ──

    def edit(self, number: int, draw: random.Random) -> None:
        """One edit: mostly an order that comes in or moves on, an invoice written or paid."""
        acts = {
            self._new_order: 32,
            self._edit_order: 20,
            self._new_invoice: 12,
            self._pay_invoice: 14,
            self._edit_customer: 17,
            self._new_customer: 3,
            self._delete_order: 1,
            self._delete_invoice: 1,
        }
        draw.choices(list(acts), list(acts.values()))[0](number, draw)

    def _any_company(self, draw: random.Random) -> Company | None:
        of = company(self.seed, draw.randrange(int(self.store.fact("companies"))))
        known = of.in_erp and of.number not in story.reserved(self.seed)
        return of if known and self.store.get("CustomerSet", customer_key(of.number)) else None

    def _any(self, stream: str, draw: random.Random) -> Record | None:
        record = self.store.near(stream, number(draw.randint(1, int(self.store.fact(stream)))))
        planted = record is not None and int(record.body["Customer"]) - FIRST_CUSTOMER in story.reserved(self.seed)
        return None if planted else record

    def _next(self, stream: str) -> str:
        n = int(self.store.fact(stream)) + 1
        self.store.remember(stream, n)
        return number(n)

    def _change(self, record: Record | None, **fields: str) -> None:
        if record is not None:
            self.store.put(record.stream, record.key, {**record.body, **fields})

    def _new_order(self, _number: int, draw: random.Random) -> None:
        if of := self._any_company(draw):
            self._receive(of, order_amount(of, draw))

    def _receive(self, of: Company, amount: float) -> tuple[str, int]:
        key, at_us = self._next("SalesOrderSet"), self.store.now_us()
        self.store.put("SalesOrderSet", key, self._order(of, amount, at_us, "OPEN"), at_us)
        return key, at_us

    def _edit_order(self, _number: int, draw: random.Random) -> None:
        self._change(self._any("SalesOrderSet", draw), Status=draw.choice(("CONFIRMED", "DELIVERED")))

    def _new_invoice(self, _number: int, draw: random.Random) -> None:
        of = self._any_company(draw)
        if of and not of.departing:
            at_us = self.store.now_us()
            self.store.put("InvoiceSet", self._next("InvoiceSet"), self._invoice(of, draw, at_us, "OPEN"), at_us)

    def _pay_invoice(self, _number: int, draw: random.Random) -> None:
        self._change(self._any("InvoiceSet", draw), Status="PAID")

    def _edit_customer(self, _number: int, draw: random.Random) -> None:
        of = self._any_company(draw)
        record = of and self.store.get("CustomerSet", customer_key(of.number))
        if not of or not record:
            return
        match draw.randrange(3):
            case 0:
                self._change(record, Phone=phone(of.dialling, f"{of.phone[:2]}{draw.randrange(10**6, 10**7)}", draw))
            case 1:
                self._change(record, Email=f"{draw.choice(('info', 'billing', 'einkauf', 'orders'))}@{of.domain}")
            case _:
                self._change(record, CreditLimit=f"{near_limit(of, draw):.2f}")

    def _new_customer(self, _number: int, draw: random.Random) -> None:
        index = int(self.store.fact("companies"))
        self.store.remember("companies", index + 1)
        of = company(self.seed, index)
        if of.in_erp:
            self.store.put("CustomerSet", customer_key(index), self._customer(of, draw))

    def _delete_order(self, _number: int, draw: random.Random) -> None:
        if record := self._any("SalesOrderSet", draw):
            self.store.remove(record)

    def _delete_invoice(self, _number: int, draw: random.Random) -> None:
        if record := self._any("InvoiceSet", draw):
            self.store.remove(record)

    # ── the story ──

    def steps(self) -> Sequence[Step]:
        """Credit limits are halved, payment terms change here only, orders of ten times the usual come in."""
        who = story.cast_of(self.seed)
        acts = {f"credit-limit-halved-{n}": partial(self._halve, n, index) for n, index in enumerate(who.halved, 1)}
        acts |= {
            f"order-unusual-{n}": partial(self._order_ten_times, n, index) for n, index in enumerate(who.ordering, 1)
        }
        acts["payment-terms-erp"] = partial(self._change_terms, who.terms_erp)
        return [Step(name, story.moment(self.seed, name), act) for name, act in acts.items()]

    def waiting(self) -> int:
        """Nothing: it is asked, and sends nothing."""
        return 0

    def _planted(self, index: int) -> tuple[Company, Record]:
        record = self.store.get("CustomerSet", customer_key(index))
        if record is None:
            raise LookupError(f"customer {customer_key(index)} is gone, though the story needs it")
        return company(self.seed, index), record

    def _halve(self, n: int, index: int) -> Truth:
        of, record = self._planted(index)
        old, new = float(record.body["CreditLimit"]), round(of.limit * HALVED_TO, 2)
        at_us = self.store.put("CustomerSet", record.key, {**record.body, "CreditLimit": f"{new:.2f}"})
        return _told(
            f"credit-limit-halved-{n}", "credit limit halved", "credit-limit-halved", of, at_us, old=old, new=new
        )

    def _change_terms(self, index: int) -> Truth:
        of, record = self._planted(index)
        old, new = terms_code(of.terms), terms_code(of.terms % 4 + 1)
        at_us = self.store.put("CustomerSet", record.key, {**record.body, "PaymentTerms": new})
        kind = "payment terms changed in the ERP only"
        return _told("payment-terms-erp", kind, "payment-terms-disagree", of, at_us, old=old, new=new)

    def _order_ten_times(self, n: int, index: int) -> Truth:
        of, _ = self._planted(index)
        amount = round(of.level * TIMES_USUAL, 2)
        key, at_us = self._receive(of, amount)
        return Truth(
            id=f"order-unusual-{n}",
            kind="an order ten times the customer's usual",
            rule="order-unusual",
            expects="firing",
            subject_type="order",
            key=key,
            keys={"erp/customers": customer_key(index), "erp/orders": key},
            name=of.name,
            values={"amount": amount, "usual": of.level},
            committed_us=at_us,
            due_by_us=at_us + int(story.DUE_S * 1e6),
        )


def _told(told: str, kind: str, rule: str, of: Company, at_us: int, **values: str | float) -> Truth:
    return Truth(
        id=told,
        kind=kind,
        rule=rule,
        expects="firing",
        subject_type="company",
        match_key=of.tax,
        keys={"erp/customers": customer_key(of.number)},
        name=of.name,
        values=values,
        committed_us=at_us,
        due_by_us=at_us + int(story.DUE_S * 1e6),
    )


def customer_key(index: int) -> str:
    """The customer number of a company, ten digits."""
    return number(FIRST_CUSTOMER + index)


def number(n: int) -> str:
    """A document number as SAP writes it: ten digits, leading zeros."""
    return f"{n:010d}"


def terms_code(terms: int) -> str:
    """The payment terms key, e.g. NT30."""
    return f"NT{TERMS_DAYS[terms - 1]}"


def date(at_us: int) -> str:
    """A point in time as OData V2's JSON has it: milliseconds since the epoch."""
    return f"/Date({at_us // 1_000})/"


def day(at_us: int) -> str:
    """The day of ``at_us`` as OData V2's JSON has it: its midnight."""
    return date(at_us // DAY_US * DAY_US)

"""The story is planted once the app has read everything, told in one file, and survives a kill."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from flockiq.local.samples import processes, story, truth
from flockiq.local.samples.life import Options
from flockiq.local.samples.marketing import Marketing
from flockiq.local.samples.records import records
from flockiq.local.samples.store import Store
from flockiq.local.samples.systems import control, start, stop
from tests.samples.app import App
from tests.samples.conftest import NOBODY, Sampled, eventually

SEED = 11
PACE = 0.02  # twenty seconds of story in under half a second
EVERY_TRUTH = {
    "credit-limit-halved-1",
    "credit-limit-halved-2",
    "payment-terms-crm",
    "payment-terms-erp",
    "order-unusual-1",
    "order-unusual-2",
    "account-deleted-1",
    "account-deleted-2",
    "feed-silent",
    "feed-back",
}


async def read_everything(sampled: Sampled) -> None:
    """Follow every stream of CRM and ERP to its delta link, as an app does when it starts."""
    async with httpx.AsyncClient(trust_env=False) as client:
        for stream in ("accounts", "contacts", "opportunities"):
            headers = {**sampled.crm_headers, "Prefer": "odata.track-changes"}
            link = f"{sampled.crm_url}/{stream}"
            while link:
                answer = await client.get(link, headers=headers)
                if answer.status_code == 429:
                    await asyncio.sleep(float(answer.headers["retry-after"]))
                    continue
                link = answer.raise_for_status().json().get("@odata.nextLink", "")
        for stream in ("CustomerSet", "SalesOrderSet", "InvoiceSet"):
            link = f"{sampled.erp_url}/{stream}?$format=json"
            while link:
                answer = await client.get(link, auth=sampled.erp_auth)
                link = answer.raise_for_status().json()["d"].get("__next", "")


Held = dict[tuple[str, str], dict[str, dict[str, Any]]]


def check_companies(before: Held, after: Held, told: dict[str, truth.Truth]) -> None:
    """What was told of companies and orders is what happened to them."""
    for n in (1, 2):
        halved = told[f"credit-limit-halved-{n}"]
        key = halved.keys["erp/customers"]
        old, new = (float(seen["erp", "customers"][key]["CreditLimit"]) for seen in (before, after))
        assert new <= old * 0.5
        limits = {
            "".join(filter(str.isdigit, row["fq_taxid"])): row["creditlimit"]
            for row in after["crm", "accounts"].values()
        }
        assert limits[halved.match_key] == new
        order = told[f"order-unusual-{n}"]
        amounts = [
            float(row["NetAmount"])
            for row in before["erp", "orders"].values()
            if row["Customer"] == order.keys["erp/customers"]
        ]
        planted = float(after["erp", "orders"][order.key]["NetAmount"])
        assert planted > 6 * max(amounts)
        assert 8 < planted / (sum(amounts) / len(amounts)) < 12
        deleted = told[f"account-deleted-{n}"].keys["crm/accounts"]
        assert deleted in before["crm", "accounts"]
        assert deleted not in after["crm", "accounts"]
    for stream, field in ((("crm", "accounts"), "paymenttermscode"), (("erp", "customers"), "PaymentTerms")):
        key = told[f"payment-terms-{stream[0]}"].keys["/".join(stream)]
        assert before[stream][key][field] != after[stream][key][field]
    about = {event.match_key or event.keys["erp/customers"] for event in told.values() if event.subject_type != "feed"}
    assert len(about) == 8


def check_silence(app: App, silent: truth.Truth, back: truth.Truth) -> None:
    """There were deliveries before and after, and none for as long as the story says."""
    assert (silent.expects, back.expects) == ("firing", "resolved")
    long_s, begin_s = story.SILENCE_S * 0.1, silent.committed_us / 1e6
    times = [at for at, *_ in app.posts]
    gap = max(later - earlier for earlier, later in pairwise(times))
    assert long_s * 0.8 < gap < long_s + 10  # a machine with much to do delivers late
    assert [at for at in times if at < begin_s]
    assert not [at for at in times if begin_s + 0.1 < at < begin_s + long_s - 0.5]


async def test_the_whole_story_is_planted_and_told(tmp_path: Path, app: App) -> None:
    """Nothing happens before everything was read; then each event is in the systems, and in the truth once."""
    app.data = tmp_path
    try:
        running = await start(tmp_path, SEED, app.url, pace=0.1, rate=8.0)
        sampled = Sampled(tmp_path, running)
        assert (await control(tmp_path, "crm"))["edits"] == 0
        before = records(tmp_path)
        await read_everything(sampled)
        await eventually(lambda: {told.id for told in truth.read(tmp_path)} == EVERY_TRUTH)
        back_us = next(told for told in truth.read(tmp_path) if told.id == "feed-back").committed_us
        await eventually(lambda: len([at for at, *_ in app.posts if at * 1e6 > back_us]) > 3)
        state = await control(tmp_path, "crm")
        while not {"follow-halved-1", "follow-halved-2"} <= set(state["steps"]):
            await asyncio.sleep(0.05)
            state = await control(tmp_path, "crm")
        after = records(tmp_path)
    finally:
        await stop(tmp_path)
    told = {event.id: event for event in truth.read(tmp_path)}
    check_companies(before, after, told)
    check_silence(app, told["feed-silent"], told["feed-back"])
    assert len((tmp_path / "samples" / "truth.jsonl").read_text().splitlines()) == len(EVERY_TRUTH)
    for event in told.values():
        assert event.due_by_us >= event.committed_us + 15_000_000


async def test_killed_systems_go_on_where_they_were(tmp_path: Path) -> None:
    """After kill -9 and a new start: the same ports, records and tokens, and no step of the story twice."""
    try:
        first = await start(tmp_path, SEED, NOBODY, pace=PACE)
        sampled = Sampled(tmp_path, first)
        await read_everything(sampled)
        await eventually(lambda: len(truth.read(tmp_path)) == len(EVERY_TRUTH) - 2)
        link = f"{sampled.erp_url}/CustomerSet?$format=json"
        async with httpx.AsyncClient(trust_env=False, auth=sampled.erp_auth) as client:
            while link:
                body = (await client.get(link)).json()["d"]
                link, delta = body.get("__next", ""), body.get("__delta", "")
        for system in first.pids:
            await control(tmp_path, system, freeze=True)
        before = records(tmp_path)
        for pid in first.pids.values():
            os.kill(pid, signal.SIGKILL)
        second = await start(tmp_path, SEED, NOBODY, pace=PACE)
        assert second.ports == first.ports
        assert not set(second.pids.values()) & set(first.pids.values())
        assert records(tmp_path) == before
        assert (await control(tmp_path, "crm"))["frozen"]
        async with httpx.AsyncClient(trust_env=False, auth=sampled.erp_auth) as client:
            assert (await client.get(delta)).status_code == 200
        await control(tmp_path, "crm", freeze=False, edit=5)
        await asyncio.sleep(0.5)
        lines = (tmp_path / "samples" / "truth.jsonl").read_text().splitlines()
        assert len(lines) == len(EVERY_TRUTH) - 2
    finally:
        await stop(tmp_path)


async def test_a_truth_that_was_committed_but_not_told_is_told_after_a_crash(tmp_path: Path) -> None:
    """Losing the file's last lines, or telling them twice, changes nothing for the reader."""
    event = truth.Truth(id="x", kind="k", rule="r", expects="firing", subject_type="feed", committed_us=1, due_by_us=2)
    truth.append(tmp_path, event)
    truth.append(tmp_path, event)
    with (truth.folder(tmp_path) / "truth.jsonl").open("a") as file:
        file.write('{"id": "torn')
    assert truth.read(tmp_path) == [event]


async def test_an_idle_system_ends_by_itself(tmp_path: Path) -> None:
    """Without requests for --idle seconds the process goes away; its state stays."""
    (tmp_path / "samples").mkdir()
    pid = processes.spawn(tmp_path, "crm", processes.free_port(), "secret", ["--seed", "3", "--idle", "0.5"])
    began = time.monotonic()
    await eventually(lambda: processes.is_over(pid))
    assert time.monotonic() - began > 0.5
    assert records(tmp_path)["crm", "accounts"]


async def test_a_system_whose_folder_was_removed_ends(tmp_path: Path) -> None:
    """Whoever removes the data of an app that was killed leaves nothing behind that goes on editing and sending."""
    home = tmp_path / "data"
    truth.folder(home).mkdir(parents=True)
    port = processes.free_port()
    pid = processes.spawn(home, "marketing", port, "secret", ["--seed", "3"])
    while processes.is_free(port):
        assert not processes.is_over(pid)
        await asyncio.sleep(0.05)
    home.rename(tmp_path / "removed")
    truth.folder(home).mkdir(parents=True)  # and a new one begun at once
    await eventually(lambda: processes.is_over(pid))


def test_a_feed_that_falls_silent_late_is_silent_as_long(tmp_path: Path) -> None:
    """Its outbox had to empty first, which takes as long as the app is away."""
    store = Store(tmp_path / "marketing.sqlite")
    marketing = Marketing(store, Options(data=tmp_path, seed=SEED, secret="", born_us=0))
    silent, back, _ = marketing.steps()
    assert not back.ready()
    silent.act()
    assert not back.ready()
    store.remember("silent_us", time.time_ns() // 1_000 - int(story.SILENCE_S * 1e6))
    assert back.ready()
    store.connection.close()

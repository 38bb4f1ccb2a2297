"""Starts, finds again and ends the sample systems of a data folder.

They are processes of their own, out of reach of the terminal's Ctrl-C, and outlive whoever
started them. ``<data>/samples/systems.json`` remembers where they are, so that an app that was
killed finds them as they went on without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec

from flockiq.local.samples.gateway import USER
from flockiq.local.samples.processes import end, free_port, is_free, is_ours, is_over, spawn
from flockiq.local.samples.serve import SECRETS
from flockiq.local.samples.truth import folder
from flockiq.shared.errors import FlockIQError

ADDRESSES = {"crm": "FLOCKIQ_SAMPLE_CRM_URL", "erp": "FLOCKIQ_SAMPLE_ERP_URL"}

START_S, ANSWER_S, FREED_S = 20.0, 3.0, 2.0
ATTEMPTS = 3


class Place(msgspec.Struct):
    """Where a system runs, or ran: its port stays its own, since delta links name it."""

    port: int
    pid: int = 0  # 0: it was ended


class Register(msgspec.Struct):
    """What ``systems.json`` holds."""

    seed: int
    systems: dict[str, Place] = {}


@dataclass(frozen=True)
class Systems:
    """The running sample systems."""

    environment: Mapping[str, str] = field(repr=False)  # what the app needs to reach them, secrets included
    ports: Mapping[str, int]
    pids: Mapping[str, int]


async def start(
    data: Path, seed: int, app_url: str, *, story: bool = True, pace: float = 1.0, rate: float = 1.0
) -> Systems:
    """Start the sample systems of ``data``, or find those that still run.

    ``pace`` multiplies the seconds of the story, ``rate`` how much people edit; systems that
    already run keep theirs. FlockIQError if the folder belongs to another seed, or one does not start.
    """
    data = _home(data)
    folder(data).mkdir(parents=True, exist_ok=True)
    register = _register(data) or Register(seed)
    if register.seed != seed:
        raise FlockIQError(
            f"The sample systems of {data} were made from seed {register.seed}, not {seed}: "
            f"give --seed {register.seed} to go on with them, or another --data to begin anew."
        )
    keys = secrets_of(data)
    more = ["--app-url", app_url, "--pace", str(pace), "--rate", str(rate), *([] if story else ["--no-story"])]
    given = ["--seed", str(seed), *more]
    places = await asyncio.gather(
        *(_running(data, name, register.systems.get(name), keys[name], given) for name in SECRETS),
        return_exceptions=True,
    )
    register.systems |= {name: place for name, place in zip(SECRETS, places, strict=True) if isinstance(place, Place)}
    _write(data, register)
    if fault := next((place for place in places if isinstance(place, BaseException)), None):
        await stop(data)  # nothing is left behind that nobody was told of
        raise fault
    await control(data, "marketing", app_url=app_url)
    return Systems(
        environment=environment_of(data),
        ports={name: place.port for name, place in register.systems.items()},
        pids={name: place.pid for name, place in register.systems.items()},
    )


def environment_of(data: Path) -> Mapping[str, str]:
    """What an app needs to reach the sample systems of ``data``, secrets included; nothing if none were started."""
    data = _home(data)
    register = _register(data)
    if register is None:
        return {}
    keys, places = secrets_of(data), register.systems
    return {
        **{variable: f"http://127.0.0.1:{places[name].port}" for name, variable in ADDRESSES.items() if name in places},
        **{variable: keys[name] for name, variable in SECRETS.items() if name in places},
    }


def secrets_of(data: Path) -> Mapping[str, str]:
    """A secret for each system, made up once for each data folder and readable by its owner only."""
    path = folder(_home(data)) / "secrets.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode({name: secrets.token_urlsafe(24) for name in SECRETS}))
    return msgspec.json.decode(path.read_bytes(), type=dict[str, str])


def seed_of(data: Path) -> int | None:
    """The seed that the sample systems of ``data`` were made from; None if there were none yet."""
    register = _register(_home(data))
    return register.seed if register else None


async def stop(data: Path) -> None:
    """End the sample systems of ``data``, and nothing else: a process is ended only if it is theirs."""
    data = _home(data)
    register = _register(data)
    if register is None:
        return
    await asyncio.gather(*(end(data, name, place.pid) for name, place in register.systems.items()))
    for place in register.systems.values():
        place.pid = 0
    _write(data, register)


async def control(data: Path, name: str, **orders: Any) -> dict[str, Any]:
    """Give a running system ``orders`` (control.Orders), or none; how it stands then."""
    data = _home(data)
    register = _register(data)
    if register is None or name not in register.systems:
        raise FlockIQError(f"No sample system called {name} was started on {data}.")
    state = await _ask(name, register.systems[name].port, secrets_of(data)[name], orders)
    if state is None:
        raise FlockIQError(f"The sample system {name} of {data} does not answer.")
    return state


# ── one system ──


async def _running(data: Path, name: str, place: Place | None, key: str, arguments: list[str]) -> Place:
    if place and is_ours(place.pid, data, name):
        state = await _ask(name, place.port, key, {})
        if state is not None and state.get("pid") == place.pid:
            return place
        await end(data, name, place.pid)
    port = place.port if place and await _freed(place.port) else free_port()
    for _ in range(ATTEMPTS):
        pid = spawn(data, name, port, key, arguments)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and not is_over(pid):
            state = await _ask(name, port, key, {})
            if state is not None and state.get("pid") == pid:
                return Place(port, pid)
            await asyncio.sleep(0.05)
        await end(data, name, pid)
        if is_free(port):
            break  # that was not what stopped it
        port = free_port()
    log = folder(data) / f"{name}.log"
    raise FlockIQError(f"The sample system {name} does not start; {log} says why:\n{_tail(log)}")


async def _freed(port: int) -> bool:
    """Whether the port can be had; a process that is just being ended has a moment to let go of it."""
    deadline = time.monotonic() + FREED_S
    while not is_free(port):
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(0.02)
    return True


async def _ask(name: str, port: int, key: str, orders: Mapping[str, Any]) -> dict[str, Any] | None:
    """Its state, or None if nothing that knows the secret answers there."""
    auth = httpx.BasicAuth(USER, key) if name == "erp" else None
    headers = {} if auth else {"Authorization": f"Bearer {key}"}
    # Plain HTTP on this machine: a context that trusts nobody spares it reading the certificates.
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with httpx.AsyncClient(
        trust_env=False, verify=nobody, timeout=ANSWER_S, auth=auth, headers=headers
    ) as client:
        try:
            body = msgspec.json.encode(orders) if orders else None
            answer = await client.request(
                "POST" if orders else "GET", f"http://127.0.0.1:{port}/_control", content=body
            )
        except httpx.HTTPError:
            return None
    if answer.status_code == httpx.codes.BAD_REQUEST:
        raise FlockIQError(f"The sample system {name} does not understand: {answer.text}")
    if not answer.is_success:
        return None
    state: dict[str, Any] = answer.json()
    return state


# ── what is kept ──


def _home(data: Path) -> Path:
    return data.resolve()


def _register(data: Path) -> Register | None:
    try:
        return msgspec.json.decode((folder(data) / "systems.json").read_bytes(), type=Register)
    except FileNotFoundError:
        return None


def _write(data: Path, register: Register) -> None:
    path = folder(data) / "systems.json"
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(register)) + b"\n")
    part.replace(path)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else "(nothing was written)"

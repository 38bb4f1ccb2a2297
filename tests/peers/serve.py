"""Peers in a process of their own: orders come as JSON on standard input, a line each, and are answered on output.

``python -m tests.peers.serve events state …`` says first which settings name the peers of those ports. It ends when
its input does, and with it everything the peers held.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import msgspec

from tests.peers.detour import Detour
from tests.peers.faults import Faults
from tests.peers.key_vault.peer import HOST as VAULT_HOST
from tests.peers.peers import Peers

PLACES: Mapping[str, tuple[str, Sequence[str]]] = {
    "events": ("event_hubs", ("send", "receive", "manage", "token")),
    "state": ("storage", ("state",)),
    "blobs": ("storage", ("blobs",)),
    "alerts": ("cosmos", ("alerts",)),
    "registry": ("cosmos", ("documents", "leases")),
    "secrets": ("key_vault", ("get", "set", "identity")),
    "analytics": ("eventhouse", ("query", "stream", "mgmt", "queued")),
}
"""The peer of each port that has one, and how the places begin where that port meets its faults."""


class Plan(msgspec.Struct, frozen=True):
    """One fault at a port: at the next occasion where the place begins with ``where``, after so many."""

    port: str
    kind: str
    where: str = ""
    after: int = 0


class Order(msgspec.Struct, frozen=True):
    """What goes wrong from now on: a storm of this seed and these chances by peer and kind, besides what is planned."""

    seed: int = 0
    storm: Mapping[str, Mapping[str, float]] = {}
    plans: Sequence[Plan] = ()
    clear: bool = False  # nothing more goes wrong: neither the storm that was nor what was planned
    secrets: Mapping[str, str] = {}  # to put into the vault


class Served(msgspec.Struct, frozen=True):
    """What the process says first: the app settings that name the peers, and the kinds of faults of each port's."""

    environment: Mapping[str, str]
    kinds: Mapping[str, Sequence[str]]


class Struck(msgspec.Struct, frozen=True):
    """The answer to an order: how often each kind has struck so far, by port."""

    faults: Mapping[str, Mapping[str, int]]


def serve(ports: Sequence[str], tenant: str) -> None:
    """Serve until the input ends."""
    with ExitStack() as stack:
        peers = stack.enter_context(Peers((tenant,)))
        environment = dict(peers.environment(ports))
        if "secrets" in ports:
            environment |= stack.enter_context(Detour({VAULT_HOST: peers.key_vault.port})).environment
            environment["SSL_CERT_FILE"] = str(peers.authority.file)
        of = {port: _faults(peers, PLACES[port][0]) for port in ports}
        _say(Served(environment, {port: sorted(faults.kinds) for port, faults in of.items()}))
        for line in sys.stdin.buffer:
            order = msgspec.json.decode(line, type=Order)
            if order.clear:
                for faults in of.values():
                    faults.clear()
            for peer, rates in order.storm.items():
                _faults(peers, peer).storm(order.seed, rates)
            for name, value in order.secrets.items():
                peers.key_vault.set(name, value)
            for plan in order.plans:
                of[plan.port].plan(plan.kind, where=plan.where, after=plan.after)
            _say(Struck({port: _struck(faults, PLACES[port][1]) for port, faults in of.items()}))


def _faults(peers: Peers, name: str) -> Faults:
    faults: Faults = getattr(peers, name).faults
    return faults


def _struck(faults: Faults, places: Sequence[str]) -> dict[str, int]:
    told = dict(faults.struck)
    return {kind: sum(told.get((kind, place), 0) for place in places) for kind in sorted(faults.kinds)}


def _say(what: msgspec.Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve(sys.argv[2:], sys.argv[1])

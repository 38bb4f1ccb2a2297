"""Which link an attach asks for."""

from __future__ import annotations

import time
from typing import Any

from tests.peers.event_hubs.asked import Cbs, Management
from tests.peers.event_hubs.connection import Session
from tests.peers.event_hubs.ends import Egress, Ingress
from tests.peers.event_hubs.links import Deliverer, Link
from tests.peers.event_hubs.nodes import UNAUTHORIZED, Refused


def attach(session: Session, fields: list[Any]) -> Link | None:
    """The link that an attach asks for; None if it was refused."""
    plain = Link(session, fields)
    try:
        return _made(plain.address, plain.client_receives, session, fields)
    except Refused as refused:
        plain.attach(refused=True)
        plain.detach(refused.condition, str(refused))
        return None


def _made(address: str, client_receives: bool, session: Session, fields: list[Any]) -> Link:  # noqa: FBT001 - as AMQP's role is
    if address in {"$cbs", "$management"}:
        if client_receives:
            answers = Deliverer(session, fields)
            answers.attach()
            return answers
        node = (Cbs if address == "$cbs" else Management)(session, fields)
        node.begin()
        return node
    hub = session.connection.hubs.place(address).hub
    if not session.connection.may(hub, time.time()):
        raise Refused(UNAUTHORIZED, "Unauthorized access. 'Send' or 'Listen' claim(s) are required.")
    if client_receives:
        receiver = Egress(session, fields)
        receiver.begin()
        return receiver
    sender = Ingress(session, fields)
    sender.begin(session.connection.hubs.max_message_bytes)
    return sender

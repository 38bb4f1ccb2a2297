"""What stops the host, in the tree of shared/errors.py."""

from __future__ import annotations

from flockiq.shared.errors import FlockIQError


class HostError(FlockIQError):
    """The host can't run this app as it stands; the message says why and what would help."""


class Stopped(Exception):
    """The host was asked to stop before this work began or ended; nothing is checkpointed."""

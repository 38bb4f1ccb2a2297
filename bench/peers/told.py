"""What a peer tells the harness: when it is ready, when it is done, and what came out."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable


def say(word: str) -> None:
    """Tell the harness, and wait until it has looked at what this process has used so far."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()
    sys.stdin.readline()


def digest(outputs: Iterable[tuple[object, ...]]) -> dict[str, object]:
    """A count and a hash of outputs in no order."""
    texts = sorted({json.dumps(one, ensure_ascii=False) for one in outputs})
    return {"outputs": len(texts), "digest": hashlib.sha256("\n".join(texts).encode()).hexdigest()}


def outcome(outputs: Iterable[tuple[object, ...]]) -> None:
    """The last line: what came out."""
    sys.stdout.write(json.dumps(digest(outputs)) + "\n")
    sys.stdout.flush()

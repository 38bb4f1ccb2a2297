"""Microsoft's client leaves the socket of a connection that broke to the garbage collector."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def swept() -> Iterator[None]:
    """Collect such sockets at the end, quietly, lest they are collected in the middle of another test.

    The client's warnings hold what broke, and pytest holds the warnings; so they are not logged meanwhile.
    """
    logger = logging.getLogger("azure")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

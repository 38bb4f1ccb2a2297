"""An event loop in a thread of its own, for peers: a test's own loop may be busy, or gone, while they serve."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self


class Loop:
    """Runs coroutines on its thread until it is left; what is still running then is cancelled."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="peers", daemon=True)
        self._thread.start()
        return self

    def run[T](self, work: Coroutine[Any, Any, T], *, timeout_s: float = 30.0) -> T:
        """What ``work`` gives, awaited from outside this thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def __exit__(self, *_error: object) -> None:
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()

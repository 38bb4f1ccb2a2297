"""A new process that starts the app as a worker of the Functions host does, and answers one request.

``python cold.py APP REPOSITORY`` prints JSON. The app is the extracted package; only Microsoft's worker
library, and the messages it is spoken to with, come from elsewhere.
"""

from __future__ import annotations

import time

BEGAN = time.perf_counter(), time.process_time()

import asyncio  # noqa: E402 - the clock runs first
import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402


def main(app: Path, repository: Path) -> dict[str, object]:
    """Import, index, answer; seconds since the process began to run Python."""
    sys.path.insert(0, str(app))
    import azure.functions  # noqa: F401, PLC0415 - the worker has it before any app

    imported = time.process_time()
    import function_app  # noqa: F401, PLC0415 - measured

    import_cpu_s = time.process_time() - imported
    import flockiq  # noqa: PLC0415 - the package's

    flockiq.__path__.append(str(repository))  # for flockiq.local, which is never deployed
    functions, status = asyncio.run(_answer(app))
    wall, cpu = time.perf_counter() - BEGAN[0], time.process_time() - BEGAN[1]
    return {
        "import_cpu_s": round(import_cpu_s, 3),
        "first_invocation_s": round(wall, 3),
        "first_invocation_cpu_s": round(cpu, 3),
        "functions": functions,
        "status": status,
    }


async def _answer(app: Path) -> tuple[list[str], str]:
    from flockiq.local.host import messages  # noqa: PLC0415 - found only now
    from flockiq.local.host.runtime import Runtime  # noqa: PLC0415

    runtime = Runtime()
    found = {each.name: each for each in await runtime.index(app)}
    asked = messages.RpcHttp(
        method="GET", url="http://127.0.0.1/static/vendor/htmx.min.js", headers={"host": "127.0.0.1"},
        body=messages.TypedData(bytes=b""), params={"path": "static/vendor/htmx.min.js"}, query={},
    )  # fmt: skip
    serve = found["serve"]
    response = await runtime.invoke(
        messages.InvocationRequest(
            invocation_id="1",
            function_id=serve.function_id,
            input_data=[messages.ParameterBinding("req", messages.TypedData(http=asked))],
            trigger_metadata={},
            trace_context=messages.RpcTraceContext("", "", {}),
            retry_context=messages.RpcRetryContext(),
        )
    )
    runtime.close()
    if response.result.exception is not None:
        raise RuntimeError(response.result.exception.message)
    return sorted(found), str(response.return_value.held.status_code)  # type: ignore[union-attr]  # an HTTP answer


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))

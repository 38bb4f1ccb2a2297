"""The doubles keep the contract of tests/conformance; what starts processes is for adapters that outlive one."""

from __future__ import annotations

import inspect

from tests.conformance import test_alerts, test_state

OVER_PROCESSES = "process"
"""A fixture that only adapters with data on disk have."""

for _suite in (test_alerts, test_state):
    for _name, _test in list(vars(_suite).items()):
        if _name.startswith("test_") and OVER_PROCESSES not in inspect.signature(_test).parameters:
            globals()[_name] = _test

"""The app as it is, stamping its batches: the function_app.py that the bench's host runs (flockiq.bench.hops)."""

from flockiq.bench import hops
from flockiq.function_app import app as app  # noqa: PLC0414 - what the host looks for

hops.stamp()

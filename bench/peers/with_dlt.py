"""The extraction of part ``capture`` in dlt: its REST source, by watermark, to local JSON lines.

``python with_dlt.py URL``: the service's address.
"""

# mypy: ignore-errors
# (what it imports is installed only in the peers' own environment)

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from told import outcome, say

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"  # read at import: nothing is told to anybody

import dlt
from dlt.destinations import filesystem
from dlt.sources.rest_api import rest_api_source


def accounts(url: str) -> object:
    """The service as dlt is told of it."""
    since = {"type": "incremental", "cursor_path": "updated_at", "initial_value": "1970-01-01T00:00:00.000Z"}
    endpoint = {"path": "records", "data_selector": "items", "params": {"since": since}}
    return rest_api_source(
        {
            "client": {"base_url": url, "paginator": {"type": "json_link", "next_url_path": "next"}},
            "resources": [{"name": "accounts", "primary_key": "id", "endpoint": endpoint}],
        }
    )


def written(folder: Path) -> Iterator[tuple[str, int]]:
    """Key and time in µs of every record that is there."""
    for path in folder.rglob("accounts/*.jsonl*"):
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            for line in lines:
                record = json.loads(line)
                moment = dt.datetime.fromisoformat(record["updated_at"].replace("Z", "+00:00"))  # noqa: FURB162 - Python 3.10 knows no Z
                yield record["id"], (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "extract",
            pipelines_dir=f"{folder}/work",
            destination=filesystem(bucket_url=f"{folder}/out"),
            dataset_name="out",
        )
        source = accounts(sys.argv[1])
        say("ready")
        pipeline.run(source, loader_file_format="jsonl")
        say("done")
        outcome(written(Path(folder, "out")))

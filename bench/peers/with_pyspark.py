"""The job in PySpark Structured Streaming: a file source, grouped by account, applyInPandasWithState.

``python with_pyspark.py FOLDER``: FOLDER holds the events as NDJSON files; one core, the
default state store, and a checkpoint on disk, as the documentation sets it up.
"""

# mypy: ignore-errors
# (what it imports is installed only in the peers' own environment)

from __future__ import annotations

import json
import pickle
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from job import Account, Delta
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col
from pyspark.sql.streaming.state import GroupState, GroupStateTimeout
from told import outcome, say

SCHEMA = (
    "id STRING, source STRING, data STRUCT<op: STRING, entity_id: STRING, ts_us: BIGINT, run: BIGINT, row: BIGINT, "
    "fields: STRING>"
)
OUTPUT = "entity STRING, name STRING, event STRING, old STRING, new STRING, us BIGINT"
collected: list[tuple[Any, ...]] = []


def fold(key: tuple[str], frames: Iterable[pd.DataFrame], state: GroupState) -> Iterator[pd.DataFrame]:
    """A micro-batch's events of one account."""
    (entity,) = key
    account: Account = pickle.loads(state.get[0]) if state.exists else Account()  # noqa: S301 - our own state
    rows = pd.concat(frames).sort_values(["ts_us", "run", "row"])
    out: list[tuple[Any, ...]] = []
    for id_, source, op, us, run, row, fields in zip(
        rows["id"], rows["source"], rows["op"], rows["ts_us"], rows["run"], rows["row"], rows["fields"], strict=True
    ):
        for one in account.fold(entity, id_, source, op, (us, run, row), json.loads(fields or "{}")):
            if isinstance(one, Delta):
                out.append((entity, one.field, one.event, json.dumps(one.old), json.dumps(one.new), 0))
            else:
                out.append((entity, one.rule, "", "", "", one.us))
    state.update((pickle.dumps(account, pickle.HIGHEST_PROTOCOL),))
    yield pd.DataFrame(out, columns=["entity", "name", "event", "old", "new", "us"])


def keep(batch: DataFrame, _: int) -> None:
    """Collect a micro-batch's outputs."""
    collected.extend(batch.toPandas().itertuples(index=False, name=None))


def run(spark: SparkSession, folder: str) -> None:
    """Everything there is in the folder, a file at a time, then stop."""
    data = [col(f"data.{name}").alias(name) for name in ("op", "entity_id", "ts_us", "run", "row", "fields")]
    events = spark.readStream.schema(SCHEMA).option("maxFilesPerTrigger", 1).json(folder).select("id", "source", *data)
    told = events.groupBy("entity_id").applyInPandasWithState(
        fold, OUTPUT, "account BINARY", "append", GroupStateTimeout.NoTimeout
    )
    with tempfile.TemporaryDirectory() as checkpoint:
        query = (
            told.writeStream.outputMode("append")
            .foreachBatch(keep)
            .option("checkpointLocation", checkpoint)
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()


if __name__ == "__main__":
    session = (
        SparkSession.builder.master("local[1]")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.memory", "4g")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    session.sparkContext.addPyFile(str(Path(__file__).with_name("job.py")))
    session.range(1_000).groupBy((col("id") % 10).alias("k")).count().toPandas()  # the JVM and its Python have begun
    say("ready")
    run(session, sys.argv[1])
    say("done")
    outcome(
        (entity, name, event, json.loads(old), json.loads(new)) if event else (entity, name, us)
        for entity, name, event, old, new, us in collected
    )
    session.stop()

"""The DuckDB file of the history: opened, declared, written anew.

It is attached rather than opened, since only so the size of its row groups can be set. Small ones are complete, and
written, within the transaction that brings them; of larger ones most would be written several times.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten

import duckdb

from flockiq.shared.adapters.embedded.tables import COMPRESSION, TYPES
from flockiq.shared.errors import BadRecord, ConfigError, Problem, StoreUnavailable
from flockiq.shared.tables import Columns

USE = "USE history"  # what every connection to an opened file begins with
ROW_GROUP = 16_384  # rows
MAX_MESSAGE = 500  # characters of an error: the parser may list every word it would have taken

_OPTIONS: Mapping[str, str] = {
    # KQL comes from files people write and from the page: it may read these tables and nothing else.
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "threads": "1",  # of its own for each statement: handing pieces of small batches around costs a tenth more
    "checkpoint_threshold": "128MB",  # of the write-ahead log, which is read again after a crash: about a second
    "write_buffer_row_group_count": "1",  # a row group is written when it is full, so that few are held
    "max_temp_directory_size": "2GB",
}


def opened(path: Path, memory: str) -> duckdb.DuckDBPyConnection:
    """A connection that reaches this file and no other. ConfigError if another process holds it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = {"temp_directory": str(path.with_name(f"{path.name}.tmp"))}
        connection = duckdb.connect(config={**_OPTIONS, **temporary, "memory_limit": memory})
        try:
            connection.execute(_attach(path, "history"))
        except BaseException:
            connection.close()
            raise
    except duckdb.IOException as error:
        if "lock" in str(error):
            wrong = "another process holds it: one at a time can"
            raise ConfigError(
                [Problem(str(path), 0, "", wrong, "ask the running app over HTTP, or stop it")]
            ) from error
        raise StoreUnavailable(f"{path}: {summary(error)}") from error
    except (duckdb.Error, OSError) as error:
        raise StoreUnavailable(f"{path}: {error}; check the disk's space and rights") from error
    connection.execute(USE)
    connection.execute("SET GLOBAL TimeZone = 'UTC'")  # KQL's datetimes are UTC
    connection.execute("SET GLOBAL enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def declare(connection: duckdb.DuckDBPyConnection, table: str, columns: Columns) -> None:
    """Make a table, or add the columns it lacks; what is no longer declared stays as it is."""
    declared = [f'"{name}" {TYPES[kind]}' for name, kind in columns.items()]
    kept = [f"{column} {COMPRESSION.get(kind, '')}" for column, kind in zip(declared, columns.values(), strict=True)]
    connection.execute(f'CREATE TABLE IF NOT EXISTS "{table}" ({", ".join(kept)})')
    for column in declared:
        connection.execute(f'ALTER TABLE "{table}" ADD COLUMN IF NOT EXISTS {column}')


def rewrite(path: Path, memory: str) -> None:
    """Copy what is there into a new file, and put it in the place of the old one, which nobody may have open."""
    new = path.with_suffix(".scrubbed")
    new.unlink(missing_ok=True)
    try:
        with duckdb.connect(config={"threads": "2", "memory_limit": memory}) as copying:
            copying.execute(_attach(path, "old"))
            copying.execute(_attach(new, "new"))
            copying.execute("COPY FROM DATABASE old TO new")
        new.replace(path)
    except (duckdb.Error, OSError) as error:
        raise StoreUnavailable(f"{path}: {error}; check the disk's space and rights") from error
    finally:
        new.unlink(missing_ok=True)


def passing(error: duckdb.Error) -> bool:
    """Whether an error is of the disk or the memory, and not of what was asked."""
    return isinstance(error, duckdb.IOException | duckdb.OutOfMemoryException | duckdb.FatalException)


def refusal(path: Path, table: str, error: duckdb.Error) -> BadRecord | StoreUnavailable:
    """What an error of a statement about a table is to whoever asked for it."""
    if passing(error):
        return unavailable(path, error)
    return BadRecord(f"the rows were refused: {summary(error)}", field=table)


def unavailable(path: Path, error: duckdb.Error | OSError) -> StoreUnavailable:
    """What an error of the disk or the memory is."""
    said = summary(error) if isinstance(error, duckdb.Error) else error
    return StoreUnavailable(f"{path}: {said}; check the disk's space and rights")


def summary(error: duckdb.Error) -> str:
    """What DuckDB says of an error, without the SQL it quotes after it."""
    return shorten(str(error).partition("\n\nLINE ")[0], MAX_MESSAGE, placeholder=" …")


def _attach(path: Path, name: str) -> str:
    return f"ATTACH '{str(path).replace("'", "''")}' AS {name} (ROW_GROUP_SIZE {ROW_GROUP})"

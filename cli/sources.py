"""``flockiq sources``: for the person who adds one: does it work, what does it hold, how does it stand."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

from flockiq.capture.sources import Capture
from flockiq.capture.subscriptions import PUBLIC_URL
from flockiq.capture.told import at
from flockiq.cli.discover import discovered, suggestion
from flockiq.cli.metadata import Shape
from flockiq.cli.peek import Found, Peeked, events, find, opened, peek, secret_names, stream_of
from flockiq.cli.standing import standing
from flockiq.cli.view import plain
from flockiq.shared.config.connection import with_settings
from flockiq.shared.config.document import read
from flockiq.shared.config.entities import EntityFile
from flockiq.shared.config.load import load
from flockiq.shared.config.problems import validate
from flockiq.shared.config.sources import Source
from flockiq.shared.errors import ConfigError, FlockIQError, NotFound, Problem

SAMPLE = 5  # records that a check reads of each stream
_C1 = re.compile("[\x7f-\x9f]")  # JSON escapes other control characters; terminals obey these too


class Options(NamedTuple):
    """Where config and data are."""

    config: Path
    data: Path


class Verdict(NamedTuple):
    """What one look found: good, bad, or worth knowing."""

    mark: str  # "ok", "FAIL", "note"
    about: str
    says: str


def check(options: Options, name: str) -> int:
    """Reach a source, authenticate, read a few records of every stream; 1 if anything fails."""
    found = find(options.config, name)
    wrong = _problems(options.config, found)
    verdicts = [Verdict("FAIL", "config", str(problem)) for problem in wrong]
    if not wrong:
        verdicts.append(Verdict("ok", "config", f"{found.path} is valid"))
    if not found.source.enabled:
        verdicts.append(Verdict("note", "config", "it is not read yet: set enabled: true"))
    verdicts += asyncio.run(_check(options, found.source))
    for verdict in verdicts:
        _out(f"{verdict.mark:<5}{verdict.about:<16} {verdict.says}")
    return int(any(verdict.mark == "FAIL" for verdict in verdicts))


def _problems(config: Path, found: Found) -> list[Problem]:
    """What is wrong with the source's file beside the others: an entity type or a field that there is none of."""
    try:
        load(config, os.environ)
    except ConfigError as error:
        return [problem for problem in error.problems if problem.file == found.document.file]
    return []


async def _check(options: Options, source: Source) -> list[Verdict]:
    async with opened(options.data, source) as capture:
        verdicts = _settings(capture, source) + await _secrets(capture, source) + _webhook(capture, source)
        if any(verdict.mark == "FAIL" for verdict in verdicts):
            return verdicts  # without them it can't be reached
        for stream, config in source.streams.items():
            if not source.polled and source.files is None:
                continue
            try:
                peeked = await peek(capture, source, stream, SAMPLE)
                verdicts += _judged(capture, source, stream, peeked)
            except FlockIQError as error:
                verdicts.append(Verdict("FAIL", stream, f"{error}"))
                continue
            named = [f if isinstance(f, str) else f.from_ for f in config.fields.values()]
            verdicts += _unmapped(stream, peeked, [*named, config.modified] if config.modified else named)
        return verdicts


def _settings(capture: Capture, source: Source) -> list[Verdict]:
    verdicts: list[Verdict] = []
    if source.connection is not None:
        for field in ("base_url", "allowed_origins"):
            given = getattr(source.connection, field)
            for url in (given,) if isinstance(given, str) else given:
                try:
                    with_settings(url, capture.environment, file=source.source, field=f"connection.{field}")
                except ConfigError as error:
                    verdicts.append(Verdict("FAIL", "setting", str(error)))
    return verdicts


async def _secrets(capture: Capture, source: Source) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for name in dict.fromkeys(secret_names(source)):
        try:
            await capture.services.secrets.get(name)
            verdicts.append(Verdict("ok", "secret", f"{name} is set"))
        except (NotFound, ConfigError) as error:
            verdicts.append(Verdict("FAIL", "secret", str(error)))
    return verdicts


def _webhook(capture: Capture, source: Source) -> list[Verdict]:
    if source.webhook is None:
        return []
    public = capture.environment.get(PUBLIC_URL, "").rstrip("/")
    if not public:
        return [Verdict("note", "webhook", f"{PUBLIC_URL} is not set: signatures that cover the address need it")]
    return [Verdict("ok", "webhook", f"senders post to {public}/api/webhooks/{source.source}")]


def _judged(capture: Capture, source: Source, stream: str, peeked: Peeked) -> list[Verdict]:
    lines, refused = events(capture, source, stream, peeked)
    where = f" in {peeked.place}" if peeked.place else ""
    verdicts = [Verdict("FAIL", stream, reason) for reason in dict.fromkeys(refused)]
    if lines:
        verdicts.append(Verdict("ok", stream, f"{len(lines)} of {len(peeked.records)} records read{where}"))
    elif not refused:
        verdicts.append(Verdict("note", stream, f"it is reached, and holds no records{where}"))
    if peeked.signs:
        said = "; ".join(sign.says for sign in peeked.signs[:2])
        all_there_is = (
            f"paginate is not said, so these {peeked.on_page} records are taken for all there are; but {said}"
        )
        verdicts.append(Verdict("note", stream, f"{all_there_is}. `sources discover {source.source}` tries to read on"))
    return verdicts


def _unmapped(stream: str, peeked: Peeked, paths: list[str]) -> list[Verdict]:
    """Fields that the mapping names and no record has: a typing error, or empty in all of them."""
    if not peeked.records:
        return []
    missing = [path for path in paths if all(at(dict(record), path) is None for record in peeked.records)]
    said = f"no record read has {', '.join(missing)}; is it written so in the source?"
    return [Verdict("note", stream, said)] if missing else []


def discover(options: Options, name: str) -> int:
    """List a source's streams with their keys and columns, and print config that reads them."""
    found = find(options.config, name, sketch=True)
    known = _entity_types(options.config)
    shapes = asyncio.run(_discovered(options, found.source))
    for shape in shapes:
        _out(f"# {shape.name}: key {', '.join(shape.keys) or '(none found)'}; {len(shape.columns)} columns")
        for column in shape.columns:
            _out(f"#   {column.name}: {column.type or column.written}")
    _out(suggestion(found.document.data, found.source, shapes, known))
    return 0


def _entity_types(config: Path) -> dict[str, tuple[str, ...]]:
    """The entity types whose files are right, and their fields: what else is wrong is no matter yet."""
    known: dict[str, tuple[str, ...]] = {}
    for path in sorted((config / "entities").glob("*.y*ml")):
        try:
            entity, _ = validate(EntityFile, read(path))
        except ConfigError:
            continue
        if entity is not None:
            known[entity.entity] = tuple(entity.fields)
    return known


async def _discovered(options: Options, source: Source) -> list[Shape]:
    async with opened(options.data, source) as capture:
        return await discovered(capture, source)


def show(options: Options, name: str, stream: str, limit: int) -> int:
    """Print records as the change events they would become, one a line, publishing nothing; 1 if none would."""
    source = find(options.config, name).source
    lines, refused = asyncio.run(_shown(options, source, stream_of(source, stream), limit))
    for line in lines:
        sys.stdout.write(_C1.sub(lambda found: f"\\u{ord(found[0]):04x}", line.decode()) + "\n")
    for reason in refused:
        sys.stderr.write(plain(f"{name}/{stream}: {reason}") + "\n")
    return int(bool(refused) and not lines)


async def _shown(options: Options, source: Source, stream: str, limit: int) -> tuple[list[bytes], list[str]]:
    async with opened(options.data, source) as capture:
        return events(capture, source, stream, await peek(capture, source, stream, limit))


def status(options: Options) -> int:
    """Print how every stream stands: how far it is read, how fresh it is, how much it brought, what fails."""
    config = load(options.config, os.environ)
    if not options.data.is_dir():
        raise FlockIQError(f"Nothing has run in {options.data} yet: start the app, or name its folder with --data DIR.")
    for line in asyncio.run(standing(options.data, list(config.sources.values()))):
        _out(line)
    return 0


def _out(text: str) -> None:
    """Print lines as they are, without what a terminal would obey."""
    for line in text.split("\n"):
        sys.stdout.write("".join(each if each.isprintable() else "\ufffd" for each in line) + "\n")

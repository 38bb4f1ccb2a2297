"""A folder of YAML becomes config, or one error that holds every mistake in it.

``folder`` holds ``sources/``, ``entities/`` and ``rules/``; every ``.yaml`` or ``.yml`` file in them
counts, whatever it is called. What is disabled is checked like the rest and then left out.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import xxhash
from pydantic import BaseModel

import flockiq
from flockiq.shared import settings
from flockiq.shared.config.document import Document, read
from flockiq.shared.config.entities import EntityFile
from flockiq.shared.config.findings import Findings
from flockiq.shared.config.model import Config, Entity, Rule
from flockiq.shared.config.problems import validate
from flockiq.shared.config.resolve_entities import check_streams, resolve_entity
from flockiq.shared.config.resolve_rules import Around, check_states, resolve_rules
from flockiq.shared.config.rules import RuleFile
from flockiq.shared.config.sources import Source, SourceFile
from flockiq.shared.errors import ConfigError, Problem

__all__ = ["Config", "Entity", "Rule", "Source", "config", "load"]

MAX_FILES = 1_000

_SETTING = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")


@cache
def config() -> Config:
    """This process's config, read at the first call from where the settings say. ConfigError if wrong."""
    return load(settings.read().config, os.environ)


def load(folder: Path, environment: Mapping[str, str]) -> Config:
    """Everything under ``folder``, checked as a whole. ConfigError holds every problem found.

    Settings that ``{NAME}`` stands for need not be set to load: a source that lacks one says so when
    it is read, and ``Config.unset`` lists them.
    """
    if not folder.is_dir():
        raise ConfigError(
            [Problem(str(folder), 0, "", "is not a folder", "the one that holds sources/, entities/, rules/")]
        )
    findings = Findings()
    source_files = _named(findings, _read(findings, folder / "sources", SourceFile), "source")
    entity_files = _named(findings, _read(findings, folder / "entities", EntityFile), "entity")
    for document, source in source_files.values():
        check_streams(findings, document, source, entity_files)
    entities = {
        name: resolve_entity(findings, document, model, source_files)
        for name, (document, model) in entity_files.items()
    }
    around = Around(entities, source_files, (folder / "rules", Path(flockiq.__path__[0]) / "eventhouse" / "rules"))
    rule_files = list(_read(findings, folder / "rules", RuleFile))
    rules = findings.once(
        [
            (document, ("rules", rule.name), rule.name, (rule, file.rules[rule.name].enabled))
            for document, file in rule_files
            for rule in resolve_rules(findings, document, file, around)
        ],
        "rule",
    )
    watched = {name: (document, rule) for name, (document, (rule, enabled)) in rules.items() if enabled}
    check_states(findings, watched)
    if findings.problems:
        raise ConfigError(sorted(findings.problems, key=lambda problem: (problem.file, problem.line)))
    known = {name: source for name, (_, source) in source_files.items()}
    sources = {name: source for name, source in known.items() if source.enabled}
    return Config(
        sources=sources,
        known=known,
        entities=entities,
        rules={name: rule for name, (_, rule) in watched.items()},
        unset=tuple(sorted(_unset(sources, environment))),
        fingerprint=_fingerprint(known.values(), [model for _, model in entity_files.values()], watched),
    )


def _named[Model: (SourceFile, EntityFile)](
    findings: Findings, found: Iterator[tuple[Document, Model]], what: str
) -> dict[str, tuple[Document, Model]]:
    return findings.once([(document, (what,), str(getattr(model, what)), model) for document, model in found], what)


def _read[Model: BaseModel](findings: Findings, folder: Path, model: type[Model]) -> Iterator[tuple[Document, Model]]:
    """Every file of a folder that is a valid ``model``; the others' problems go to ``findings``."""
    files = sorted(path for path in folder.glob("*") if path.suffix in (".yaml", ".yml")) if folder.is_dir() else []
    if len(files) > MAX_FILES:
        findings.problems.append(Problem(str(folder), 0, "", f"holds {len(files):,} files", f"at most {MAX_FILES:,}"))
    for path in files[:MAX_FILES]:
        try:
            document = read(path)
        except ConfigError as error:
            findings.problems += error.problems
            findings.broken.add(path.stem)
            continue
        parsed, problems = validate(model, document)
        findings.problems += problems
        if parsed is not None:
            yield document, parsed
            continue
        findings.broken.add(path.stem)
        if isinstance(document.data, dict):
            findings.broken |= {str(document.data[key]) for key in ("source", "entity") if key in document.data}


def _fingerprint(
    sources: Iterable[SourceFile], entities: Iterable[EntityFile], rules: Mapping[str, tuple[Document, Rule]]
) -> str:
    """A hash of what the config means: comments, order of files and where they are make no difference."""
    digest = xxhash.xxh3_128()
    for model in (*sources, *entities):
        digest.update(model.model_dump_json(by_alias=True).encode() + b"\n")
    for name in sorted(rules):
        rule = dataclasses.replace(rules[name][1], file="", line=0, query_file="")
        digest.update(repr(rule).encode("utf-8", "backslashreplace") + b"\n")
    return digest.hexdigest()


def _unset(sources: Mapping[str, Source], environment: Mapping[str, str]) -> set[str]:
    """The settings that sources name and the environment lacks."""
    texts = [text for source in sources.values() for text in _texts(source.model_dump())]
    return {name for text in texts for name in _SETTING.findall(text) if not environment.get(name)}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)

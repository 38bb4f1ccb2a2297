"""Removed entities among the others of an OData page, and their keys.

docs.oasis-open.org/odata/odata-json-format/v4.01, §15.3; SAP's ODP-based services for V2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import unquote

import msgspec

from flockiq.capture.records import Record, joined_key
from flockiq.capture.sheet import Sheet
from flockiq.shared.errors import BadRecord

_MARKS: Final = frozenset({"ODQ_CHANGEMODE", "@removed", "@odata.removed", "@context", "@odata.context"})
"""Fields of which a tombstone has at least one."""

_text = msgspec.json.Decoder(str)


def is_v2_tombstone(record: Record) -> bool:
    """Whether an ODP-based service says that the record was deleted (its change mode is C, U or D)."""
    return "ODQ_CHANGEMODE" in record and bytes(record["ODQ_CHANGEMODE"]) == b'"D"'


def is_tombstone(record: Record) -> bool:
    """Whether a V4 service says that the entity was removed, in the words of 4.01 or 4.0."""
    if _is_removed(record):
        return True
    context = record.get("@odata.context", record.get("@context"))
    return context is not None and "reason" in record and b"/$deletedEntity" in bytes(context)


def deleted_key(record: Record, primary_key: Sequence[str]) -> str:
    """The key of a removed entity: in its reference, or itself (4.01); in 4.0, ``id`` is the reference. BadRecord."""
    for name in ("@id", "@odata.id") if _is_removed(record) else ("id", "@odata.id", "@id"):
        if name in record:
            return key_of_reference(_string(record[name]), primary_key)
    return joined_key(record, primary_key)


def key_of_reference(reference: str, primary_key: Sequence[str]) -> str:
    """The record key in an entity reference: ``guid``, ``accounts(guid)`` or a whole URL, one or several keys."""
    found = re.search(r"\(([^()]*)\)/?$", reference)
    inner = unquote(found[1]) if found else reference
    if len(primary_key) == 1:
        name, equals, value = inner.partition("=")
        return _unquoted(value if equals and name.strip() == primary_key[0] else inner)
    named = dict(part.split("=", 1) for part in re.findall(r"\w+=(?:'(?:[^']|'')*'|[^,]*)", inner))
    try:
        raws = {name: msgspec.Raw(msgspec.json.encode(_unquoted(named[name]))) for name in primary_key}
    except KeyError as error:
        raise BadRecord(f"a deleted record's id lacks {error}") from error
    return joined_key(raws, primary_key)


def parted(records: Sequence[Record], is_gone: Callable[[Record], bool]) -> tuple[Sequence[Record], list[Record]]:
    """Records, and what stands for deleted ones."""
    if isinstance(records, Sheet) and _MARKS.isdisjoint(records.names):
        return records, []
    tombstones = [record for record in records if is_gone(record)]
    return ([record for record in records if not is_gone(record)] if tombstones else records), tombstones


def keys(tombstones: Sequence[Record], key_of: Callable[[Record], str]) -> tuple[list[str], list[bytes]]:
    """The keys of deleted records, and the tombstones that name none."""
    found: list[str] = []
    nameless: list[bytes] = []
    for record in tombstones:
        try:
            found.append(key_of(record))
        except BadRecord:
            nameless.append(msgspec.json.encode(record))
    return found, nameless


def _unquoted(literal: str) -> str:
    """An OData key literal's value: ``'O''Neil'``, ``guid'…'``, ``42``."""
    quoted = re.fullmatch(r"(?:guid|datetime|datetimeoffset|binary|X)?'(.*)'", literal.strip(), re.DOTALL)
    return quoted[1].replace("''", "'") if quoted else literal.strip()


def _is_removed(record: Record) -> bool:
    return "@removed" in record or "@odata.removed" in record


def _string(raw: msgspec.Raw) -> str:
    try:
        return _text.decode(raw)
    except msgspec.DecodeError as error:
        raise BadRecord("a deleted record's id is not text") from error

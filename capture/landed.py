"""What a storage account says of files that landed: Event Grid events, in either of its schemas.

learn.microsoft.com, "Azure Blob Storage as an Event Grid source": CloudEvents 1.0 has ``type``,
Event Grid's own schema ``eventType``; both have ``subject`` and ``data``.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from flockiq.shared.errors import BadRecord

CREATED: Final = "Microsoft.Storage.BlobCreated"
UNFINISHED: Final = ("CreateFile", "SftpCreate")  # an empty file to be written; FlushWithClose, SftpCommit follow
_SUBJECT: Final = re.compile(
    r"/blobServices/default/containers/(?P<container>[a-z0-9-]{3,63})/blobs/(?P<name>.{1,1024})"
)
_OWN: Final = "-blobs"  # how the container that the Blobs port keeps everything in ends: flockiq-blobs
_MOST: Final = 10_000  # events in one message; Event Grid sends far fewer


class Landed(NamedTuple):
    """A file that landed. ``path`` is one of the Blobs port's: container/name, or in its own container the name."""

    path: str
    etag: str
    size: int


class _Data(msgspec.Struct, rename={"etag": "eTag", "size": "contentLength"}):
    api: str = ""
    etag: str = ""
    size: int = 0


class _Event(msgspec.Struct, rename={"event_type": "eventType"}):
    subject: str
    type: str = ""
    event_type: str = ""
    data: _Data = msgspec.field(default_factory=_Data)


_decode = msgspec.json.Decoder(list[_Event] | _Event).decode


def files_landed(body: bytes) -> list[Landed]:
    """The files a message tells of; other kinds of events are passed over. BadRecord if it is no such message."""
    try:
        decoded = _decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRecord(f"is no Event Grid event: {error}"[:300]) from error
    events = decoded if isinstance(decoded, list) else [decoded]
    if len(events) > _MOST:
        raise BadRecord(f"holds {len(events):,} events; at most {_MOST:,} are taken")
    return [
        _landed(event)
        for event in events
        if CREATED in (event.type, event.event_type) and event.data.api not in UNFINISHED
    ]


def _landed(event: _Event) -> Landed:
    found = _SUBJECT.fullmatch(event.subject)
    parts = found["name"].split("/") if found else [""]
    if found is None or any(part in ("", ".", "..") or not part.isprintable() or "\\" in part for part in parts):
        raise BadRecord("does not name a blob", field="subject")
    folder = "" if found["container"].endswith(_OWN) else f"{found['container']}/"
    return Landed(folder + found["name"], event.data.etag, event.data.size)

"""What may be the path of a blob: the same wherever blobs are kept, so that what one takes all take."""

from __future__ import annotations

from flockiq.shared.errors import BadRecord

RESERVED = ".incoming"
"""The first name of no blob's path: where a folder keeps what is being written."""

MAX_PATH = 1024  # characters, as in Azure Blob Storage
MAX_NAME_BYTES = 255  # of a name in a folder


def checked(path: str) -> str:
    """The path, if it can only lead to a blob: names joined by ``/``. BadRecord for any other."""
    names = path.split("/")
    if len(path) > MAX_PATH:
        raise BadRecord(f"a path of {len(path):,} characters is over the limit of {MAX_PATH:,}", field="path")
    if any(name in {"", ".", ".."} for name in names) or names[0] == RESERVED:
        raise BadRecord(f"{path!r} is no path of a blob: names joined by '/', none of them empty, '.' or '..'")
    if "\\" in path or not path.isprintable():
        raise BadRecord(f"{path!r} holds a backslash or a character that can't be printed", field="path")
    if any(len(name.encode()) > MAX_NAME_BYTES for name in names):
        raise BadRecord(f"{path!r} holds a name of over {MAX_NAME_BYTES} bytes", field="path")
    return path

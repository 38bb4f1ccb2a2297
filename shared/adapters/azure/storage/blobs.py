"""Blobs as block blobs of one container, each written whole or not at all."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import ContainerClient

from flockiq.shared.adapters.azure.storage.account import BLOBS, Account, no_blob
from flockiq.shared.adapters.azure.storage.uploads import Upload
from flockiq.shared.errors import Conflict, NotFound, StoreUnavailable
from flockiq.shared.paths import checked

type Page = tuple[Sequence[str], str]
"""Names, and the place where the next ones begin ("" at the end)."""

PAGE: Final = 5_000  # paths in one answer, at most
_PLACES: Final = 256  # of lists, remembered
_READS: Final = 20  # of a blob that is replaced while it is read in pieces


class AccountBlobs:
    """Blobs over a storage account's container ``blobs``. A path is names joined by ``/``; BadRecord for any other."""

    lingers = "the storage account's soft delete keeps removed blobs for 7 days, as infra/ deploys it"

    def __init__(self, account: Account) -> None:
        self._account = account
        self._places: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def put(self, path: str, body: bytes, *, create_only: bool = False) -> None:
        """See ``Blobs.put``."""
        upload = Upload(checked(path), body, create_only=create_only)
        if not await self._account.do("blobs.put", BLOBS, upload.write):
            raise Conflict(f"blob {path!r} exists already")

    async def get(self, path: str) -> bytes:
        """See ``Blobs.get``."""
        name = checked(path)

        async def read(container: ContainerClient) -> bytes:
            for _ in range(_READS):
                try:
                    return await (await container.download_blob(name)).readall()
                except ResourceModifiedError:  # replaced between two pieces of it: from the start
                    continue
            raise StoreUnavailable(f"blob {path!r} is replaced faster than it can be read: try later")

        try:
            return await self._account.do("blobs.get", BLOBS, read)
        except ResourceNotFoundError as error:
            raise NotFound(f"there is no blob {path!r}") from error

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        """See ``Blobs.list``; a list that goes on where the last one ended is not read from its beginning."""
        if prefix and not prefix.isprintable():
            return []
        found: list[str] = []
        place = self._places.get((prefix, after), "")
        while len(found) < limit:
            size = min(limit - len(found) if place or not after else PAGE, PAGE)
            names, following = await self._page(prefix, place, size)
            fresh = [name for name in names if name > after]
            found += fresh[: limit - len(found)]
            if not following:
                return found
            if found and names[-1:] == found[-1:]:
                self._remember((prefix, found[-1]), following)
            place = following
        return found

    async def delete(self, path: str) -> None:
        """See ``Blobs.delete``."""
        name = checked(path)

        async def remove(container: ContainerClient) -> None:
            try:
                await container.delete_blob(name)
            except ResourceNotFoundError as error:
                no_blob(error)
                return

        await self._account.do("blobs.delete", BLOBS, remove)

    async def close(self) -> None:
        """See ``Blobs.close``; the account is closed by whoever opened it."""

    async def _page(self, prefix: str, place: str, size: int) -> Page:
        """One answer of at most ``size`` names."""

        async def ask(container: ContainerClient) -> Page:
            given: dict[str, Any] = {"name_starts_with": prefix} if prefix else {}
            pages = container.list_blobs(results_per_page=size, **given).by_page(place or None)
            async for page in pages:
                names = [_name(blob) async for blob in page]
                return names, str(pages.continuation_token or "")  # type: ignore[attr-defined] # of azure.core's pages
            return [], ""

        return await self._account.do("blobs.list", BLOBS, ask)

    def _remember(self, key: tuple[str, str], place: str) -> None:
        self._places[key] = place
        self._places.move_to_end(key)
        while len(self._places) > _PLACES:
            self._places.popitem(last=False)


def _name(blob: BlobProperties) -> str:
    return str(blob.name)

"""Looking names up across files, and gathering every mistake on the way."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from flockiq.shared.cel.compile import CelError, Expression, compile_cel
from flockiq.shared.cel.kinds import Kind
from flockiq.shared.config.document import Document, Place
from flockiq.shared.config.problems import did_you_mean
from flockiq.shared.errors import Problem


class Findings:
    """The problems found so far; each check adds its own."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.broken: set[str] = set()  # what stands in files that did not load: not to be called unknown as well

    def add(self, document: Document, place: Place, wrong: str, allowed: str = "") -> None:
        """Something is wrong at ``place``."""
        self.problems.append(document.problem(place, wrong, allowed))

    def known(
        self, document: Document, place: Place, names: Collection[str], known: Collection[str], what: str
    ) -> bool:
        """Whether all ``names`` are known; complains about the others."""
        unknown = [name for name in names if name not in known]
        for name in unknown:
            if name not in self.broken:
                self.add(document, place, f"there is no {what} {name!r}", did_you_mean(name, known))
        return not unknown

    def once[T](self, found: Sequence[tuple[Document, Place, str, T]], what: str) -> dict[str, tuple[Document, T]]:
        """By name; complains about names given twice."""
        by_name: dict[str, tuple[Document, T]] = {}
        for document, place, name, thing in found:
            if name in by_name:
                self.add(document, place, f"there is another {what} {name!r}", f"in {by_name[name][0].file}")
            else:
                by_name[name] = (document, thing)
        return by_name

    def compiles(
        self, document: Document, place: Place, text: str, schema: Mapping[str, Kind], expect: Kind
    ) -> Expression | None:
        """The compiled expression; complains and gives None if it is wrong."""
        try:
            return compile_cel(text, schema, expect=expect)
        except CelError as error:
            self.add(document, place, f"{error.wrong}, at character {error.position + 1} of: {text}", error.allowed)
            return None

"""The zip that is deployed: what .funcignore leaves, and nothing that only a developer's machine needs.

Packages are not in it: Azure installs what requirements.txt pins, for its own platform. The same files give
the same bytes, so that two builds can be compared.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "data" / "package" / "flockiq.zip"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold
_MODE = 0o644 << 16


def files(root: Path = ROOT) -> Iterator[Path]:
    """Every file of the deployment, relative to ``root``, sorted."""
    ignored = GitIgnoreSpec.from_lines((root / ".funcignore").read_text().splitlines())
    pending = [root]
    found: list[Path] = []
    while pending:
        for path in pending.pop().iterdir():
            name = path.relative_to(root)
            if path.is_symlink() or ignored.match_file(f"{name}/" if path.is_dir() else str(name)):
                continue
            if path.is_dir():
                pending.append(path)
            else:
                found.append(name)
    yield from sorted(found, key=str)


def build(to: Path = PACKAGE, root: Path = ROOT) -> Path:
    """Write the zip; where it is."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as package:
        for name in files(root):
            entry = zipfile.ZipInfo(name.as_posix(), _EPOCH)
            entry.external_attr, entry.compress_type = _MODE, zipfile.ZIP_DEFLATED
            package.writestr(entry, (root / name).read_bytes())
    return to


def main() -> int:
    """Build from the command line."""
    parser = argparse.ArgumentParser(prog="make package", description=__doc__)
    parser.add_argument("--to", type=Path, default=PACKAGE, help="where the zip is written")
    built = build(parser.parse_args().to)
    with zipfile.ZipFile(built) as package:
        print(f"{built}: {len(package.namelist()):,} files, {built.stat().st_size / 1e6:.2f} MB")  # noqa: T201 - its answer
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

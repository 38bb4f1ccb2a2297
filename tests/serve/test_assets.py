"""The vendored assets are the files of their packages, and nothing else is loaded."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

SERVE = Path(__file__).resolve().parents[2] / "serve"
VENDOR = SERVE / "static" / "vendor"


def test_vendored_files_are_the_ones_that_were_pinned() -> None:
    """VERSIONS names each file with its hash and a licence lies beside it."""
    lines = [line.split() for line in (VENDOR / "VERSIONS").read_text().splitlines() if not line.startswith("#")]
    pinned = {file: digest for _, _, _, file, digest in lines}
    assert pinned == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.iterdir()
        if path.suffix in (".js", ".css")
    }
    assert {path.stem for path in VENDOR.glob("*.LICENSE")} == {file.split(".")[0] for file in pinned}


def test_templates_hold_no_inline_script_or_style() -> None:
    """The content security policy would refuse them."""
    for template in SERVE.glob("templates/**/*.html"):
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text), template.name
        assert "| safe" not in text, template.name

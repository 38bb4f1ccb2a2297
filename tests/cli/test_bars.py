"""The bar of long work."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from flockiq.cli.bars import bar


def test_a_bar_never_goes_back_and_shows_what_is_no_markup() -> None:
    """More to do than it seemed stops it for a while; names of things can't draw."""
    out = StringIO()
    with bar("begins", Console(file=out, force_terminal=True, width=100)) as show:
        show("half", 0.5)
        show("state [red]of\x1b[3J one", 0.25)
    told = out.getvalue()
    assert "50%" in told
    assert "25%" not in told
    assert "state [red]of" in told
    assert "\x1b[3J" not in told

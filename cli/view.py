"""The picture drawn for a terminal: a live table, or a line now and then where there is none.

Titles, names and errors come from customers' systems. They are drawn as text, never as markup,
and without control characters: a record must not be able to move the cursor.
"""

from __future__ import annotations

import re

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from flockiq.cli.picture import Feed, Fired, Picture, Stage

WIDE = 140  # columns from which sources and stages stand side by side
RIGHT = 70  # columns of the right one then
FRAME = 7  # lines around tables and alerts: header, totals, footer and what parts them
ALERTS = 5  # lines that alerts should have before a long table
SEVERITY = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
STATE = {"fresh": "green", "late": "yellow", "failing": "bold red"}
UNDRAWABLE = re.compile(  # control, soft and zero-width, direction-changing, lone surrogates
    r"[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)


def plain(text: str) -> str:
    """``text`` on one line, with control and direction-changing characters shown as a replacement."""
    return UNDRAWABLE.sub("\ufffd", " ".join(text.split()))


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours once there are some: ``02:05``, ``1:02:05``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def ago(seconds: float | None) -> str:
    """How long ago in its largest unit: ``now``, ``12 s``, ``5 min``, ``3 h``."""
    if seconds is None:
        return "never"
    for limit, size, unit in ((1.5, 0, ""), (120, 1, "s"), (7200, 60, "min")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit} ago" if size else "now"
    return f"{seconds / 3600:.0f} h ago"


def rate(value: float) -> str:
    """A number a second: whole from ten on, ``·`` for none."""
    if value < 0.05:  # noqa: PLR2004 - what would read as 0.0
        return "·"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"  # noqa: PLR2004 - two digits are enough


class Screen:
    """Draws a picture to fit the console it is shown on."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Header, tables, alerts and footer, no taller than the terminal."""
        picture, width = self.picture, options.max_width
        tall = (options.height or console.height) - FRAME - bool(picture.note)
        shown = picture.stages
        if _height(picture.feeds, shown, width) + ALERTS > tall:
            # A short terminal shows what can fall behind or has failed, and leaves out the rest.
            shown = [stage for stage in shown if stage.waiting is not None or stage.failures]
        feeds, stages = sources_table(picture.feeds), stages_table(shown)
        room = max(1, tall - _height(picture.feeds, shown, width))
        yield Group(
            header(picture, width),
            "",
            side_by_side(feeds, stages) if width >= WIDE else Group(feeds, "", stages),
            "",
            totals(picture),
            "",
            alerts_table(picture.alerts[:room]),
            "",
            Text("Ctrl-C to stop", style="dim"),
        )


def _height(feeds: list[Feed], stages: list[Stage], width: int) -> int:
    """The lines that the two tables take, with a heading and a rule each."""
    return max(len(feeds), len(stages)) + 2 if width >= WIDE else len(feeds) + len(stages) + 5


def header(picture: Picture, width: int) -> RenderableType:
    """Where the page is; how long it has run."""
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    name = Text.assemble(("FlockIQ", "bold"), "  ", (picture.address, f"cyan link {picture.address}"))
    time = clock(picture.elapsed_s) + (f" of {clock(picture.duration_s)}" if picture.duration_s else "")
    seed = "" if picture.seed is None else f" · seed {picture.seed}"
    grid.add_row(name, Text(time + seed, style="dim"))
    if picture.note:
        return Group(grid, Text(plain(picture.note)[: width - 1], style="yellow"))
    return grid


def sources_table(feeds: list[Feed]) -> Table:
    """What each source has brought, and whether it is heard of."""
    table = _table("source", "records", "a second", "last heard", "state")
    for feed in feeds:
        state = Text(plain(feed.state), style=STATE.get(feed.state, "dim"))
        if feed.error:
            state.append(f" {plain(feed.error)}", style="dim")
        table.add_row(plain(feed.source), f"{feed.records:,}", rate(feed.rate), ago(feed.age_s), state)
    return table


def stages_table(stages: list[Stage]) -> Table:
    """What each function is doing, and what waits for it."""
    table = _table("function", "calls", "a second", "waiting", "failures")
    for stage in stages:
        waiting = Text("·" if stage.waiting is None else f"{stage.waiting:,}")
        failures = Text(f"{stage.failures:,}" if stage.failures else "·", style="bold red" if stage.failures else "")
        table.add_row(plain(stage.function), f"{stage.calls:,}", rate(stage.rate), waiting, failures)
    return table


def totals(picture: Picture) -> Text:
    """The app's own numbers in one line."""
    numbers = picture.totals
    parts = [(numbers.entities, "entities"), (numbers.deltas, "deltas"), (numbers.alerts, "open alerts")]
    line = Text()
    for value, name in parts:
        line.append(f"{value:,}", style="bold").append(f" {name}   ")
    line.append(f"{numbers.dead_letters:,}", style="bold red" if numbers.dead_letters else "bold")
    line.append(" dead letters   ")
    if numbers.p99_s is not None:
        line.append(f"{numbers.p99_s:.1f} s", style="bold").append(" p99")
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def alerts_table(alerts: list[Fired]) -> RenderableType:
    """Alerts, newest first; a line each, cut to the width."""
    if not alerts:
        return Text("No alerts yet: they appear here as rules find something.", style="dim")
    table = Table(box=None, pad_edge=False, expand=True, show_header=False)
    table.add_column(width=8, style="dim")
    table.add_column(width=8)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(width=12, justify="right", style="dim")
    for alert in alerts:
        over = alert.status not in ("firing", "pending")
        style = "dim" if over else SEVERITY.get(alert.severity, "")
        title = Text(plain(alert.title), style="dim" if over else "")
        table.add_row(alert.at, Text(plain(alert.severity), style=style), title, plain(alert.status))
    return table


def side_by_side(left: Table, right: Table) -> Table:
    """Two tables in two columns; the left one, which may have errors to tell, takes what width is left."""
    grid = Table.grid(expand=True, padding=(0, 3))
    grid.add_column(ratio=1)
    grid.add_column(width=RIGHT)
    grid.add_row(left, right)
    return grid


def line(picture: Picture) -> str:
    """The picture in one line, for logs and pipes."""
    numbers = picture.totals
    waiting = sum(stage.waiting or 0 for stage in picture.stages)
    failures = sum(stage.failures for stage in picture.stages)
    per_second = sum(feed.rate for feed in picture.feeds)
    parts = [
        clock(picture.elapsed_s),
        f"{numbers.captured:,} records (+{per_second:,.0f}/s)",
        f"{numbers.entities:,} entities",
        f"{numbers.deltas:,} deltas",
        f"{numbers.alerts:,} open alerts",
        f"{waiting:,} waiting",
    ]
    if failures:
        parts.append(f"{failures:,} failures")
    if numbers.dead_letters:
        parts.append(f"{numbers.dead_letters:,} dead letters")
    return "  ".join(parts) + (f"  ({plain(picture.note)})" if picture.note else "")


def alert_line(alert: Fired) -> str:
    """One alert in one line, for logs and pipes."""
    return f"{alert.at}  {alert.severity:<8}  {alert.status:<12}  {plain(alert.title)}"


def _table(first: str, *numbers: str) -> Table:
    """A quiet table: a name, numbers aligned on the right, and the last column with what width is left."""
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", border_style="dim", expand=True, show_edge=False
    )
    table.add_column(first, width=17, no_wrap=True, overflow="ellipsis")
    for name in numbers[:-1]:
        table.add_column(name, width=10, justify="right", no_wrap=True)
    table.add_column(numbers[-1], ratio=1, no_wrap=True, overflow="ellipsis")
    return table

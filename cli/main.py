"""``python -m flockiq``: the commands, each loaded only when it is asked for."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from flockiq.shared.errors import ConfigError, FlockIQError
from flockiq.shared.instants import instant_us, rfc3339

DATA = Path("data")
if TYPE_CHECKING:
    type Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse gives it no public name

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. What goes wrong on purpose is said in a sentence, not a traceback."""
    options = parser().parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except ConfigError as error:
        say(f"The config in {options.config} needs mending:")
        for problem in error.problems:
            say(f"  {problem}")
    except FlockIQError as error:
        say(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    return 1


def say(line: str) -> None:
    """One line for the person at the terminal."""
    sys.stderr.write(line + "\n")


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    top = argparse.ArgumentParser(
        prog="python -m flockiq",
        description="Watches business systems: what changed, what disagrees, what needs doing.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    config = argparse.ArgumentParser(add_help=False)
    config.add_argument(
        "--config", type=Path, default=Path("config"), metavar="DIR", help="the config folder (%(default)s)"
    )

    run = commands.add_parser("run", parents=[config], help="run the whole app on this machine")
    run.add_argument("--duration", type=_seconds, metavar="SECONDS", help="stop by itself after so long")
    run.add_argument("--summary", type=Path, metavar="FILE", help="write what happened to this file, as JSON")
    run.add_argument(
        "--data", type=Path, metavar="DIR", help="where everything is kept (data; with --seed N, data/seed-N)"
    )
    run.add_argument("--port", type=_port, default=7071, metavar="N", help="where the page is; 0: any (%(default)s)")
    run.add_argument(
        "--seed", type=_whole, metavar="N", help="what the sample systems hold (what they held in DIR before, or 1)"
    )
    run.add_argument("--no-samples", dest="samples", action="store_false", help="only your own sources")

    commands.add_parser("check", parents=[config], help="check the config and say what is wrong with it")

    kill = commands.add_parser(
        "kill-test", parents=[config], help="kill the app again and again and compare what is left with the truth"
    )
    kill.add_argument("--kills", type=_count, default=20, metavar="N", help="how often (%(default)s)")
    kill.add_argument(
        "--data", type=Path, default=Path("data/kill-test"), metavar="DIR", help="a folder of its own (%(default)s)"
    )
    kill.add_argument("--port", type=_port, default=0, metavar="N", help="where the app listens; 0: any (%(default)s)")
    kill.add_argument("--seed", type=_whole, default=1, metavar="N", help="when it is killed, and what is sampled")
    past = commands.add_parser(
        "backfill-test", help="kill the app again and again in a backfill and look for every record"
    )
    past.add_argument("--kills", type=_count, default=20, metavar="N", help="how often (%(default)s)")
    past.add_argument("--records", type=_count, default=100_000, metavar="N", help="to backfill (%(default)s)")
    past.add_argument(
        "--data", type=Path, default=Path("data/backfill-test"), metavar="DIR", help="a folder of its own (%(default)s)"
    )
    past.add_argument("--port", type=_port, default=0, metavar="N", help="where the app listens; 0: any (%(default)s)")
    past.add_argument("--seed", type=_whole, default=1, metavar="N", help="when it is killed, and what records hold")
    _erase_parser(commands, config)
    _recovery_parsers(commands, config)
    _dead_letters_parser(commands, config)
    _sources_parser(commands, config)
    return top


def _erase_parser(commands: Subparsers, config: argparse.ArgumentParser) -> None:
    erase = commands.add_parser(
        "erase",
        parents=[config],
        help="remove a person or company from every store, and say what was removed where",
        description="Removes what is known under a key from state, alerts, dead letters, raw history and the history. "
        "Erase it in the sources first: what they tell of it afterwards is new. The same command again goes on with "
        "what was interrupted.",
    )
    erase.add_argument(
        "keys", nargs="+", metavar="KEY", help="an entity's id or match key, or a record: source/stream/key"
    )
    erase.add_argument("--type", dest="kind", default="", metavar="TYPE", help="only an entity of this type")
    erase.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="of the app (%(default)s)")
    erase.add_argument("--url", default="", help="of an app elsewhere, in place of --data")
    erase.add_argument("--json", action="store_true", help="print JSON")


def _recovery_parsers(commands: Subparsers, config: argparse.ArgumentParser) -> None:
    where = argparse.ArgumentParser(add_help=False, parents=[config])
    where.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="of the app (%(default)s)")
    state = commands.add_parser("state", help="the whole state of a system in one file, and back")
    verbs = state.add_subparsers(dest="verb", required=True, metavar="VERB")
    out = verbs.add_parser("export", parents=[where], help="write it to a file; the app may run")
    out.add_argument("file", type=Path, metavar="FILE")
    back = verbs.add_parser("import", parents=[where], help="bring a file into an empty system; the app must not run")
    back.add_argument("file", type=Path, metavar="FILE")
    back.add_argument("--force", action="store_true", help="replace what is there")
    again = commands.add_parser(
        "replay", parents=[where], help="take again what came in since a time, from raw history"
    )
    again.add_argument("--from", dest="since", type=_moment, required=True, metavar="TIME", help="RFC 3339, or a date")


def _dead_letters_parser(commands: Subparsers, config: argparse.ArgumentParser) -> None:
    where = argparse.ArgumentParser(add_help=False, parents=[config])
    where.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="of the app (%(default)s)")
    where.add_argument("--url", default="", help="of an app elsewhere, in place of --data")
    where.add_argument("--json", action="store_true", help="print JSON")
    which = argparse.ArgumentParser(add_help=False)
    for name in ("stage", "source", "stream"):
        which.add_argument(f"--{name}", default="", help=f"only those of this {name}")

    letters = commands.add_parser("dead-letters", help="look at records that could not be processed, and replay them")
    verbs = letters.add_subparsers(dest="verb", required=True, metavar="VERB")
    listed = verbs.add_parser("list", parents=[where, which], help="list them, newest first")
    listed.add_argument("--state", choices=("open", "replayed", "all"), default="open", help="(%(default)s)")
    listed.add_argument("--limit", type=_count, default=100, metavar="N", help="at most so many (%(default)s)")
    shown = verbs.add_parser("show", parents=[where], help="show one with its record")
    shown.add_argument("id", metavar="ID")
    replay = verbs.add_parser(
        "replay",
        parents=[where, which],
        help="send them back to the stage that could not process them",
        description="Sends the records named, or all open ones of a stage, source or stream, back to the stage that "
        "could not process them. Doing it twice changes nothing.",
    )
    replay.add_argument("ids", nargs="*", metavar="ID")
    replay.add_argument("--all", action="store_true", help="every open one")


def _sources_parser(commands: Subparsers, config: argparse.ArgumentParser) -> None:
    where = argparse.ArgumentParser(add_help=False, parents=[config])
    where.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="of the app (%(default)s)")
    one = argparse.ArgumentParser(add_help=False, parents=[where])
    one.add_argument("name", metavar="NAME", help="the source")

    sources = commands.add_parser("sources", help="add a source: does it work, what does it hold, how does it stand?")
    verbs = sources.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("check", parents=[one], help="reach it, authenticate, read a little, and name what is missing")
    verbs.add_parser("discover", parents=[one], help="list its streams, keys and columns, and print config for them")
    read = verbs.add_parser("read", parents=[one], help="print records as change events, publishing nothing")
    read.add_argument("stream", metavar="STREAM")
    read.add_argument("--limit", type=_count, default=5, metavar="N", help="at most so many (%(default)s)")
    past = verbs.add_parser(
        "backfill",
        parents=[one],
        help="have the running app read the past, and watch it",
        description="Has the running app read all records of a source, or of one stream, in slices; polls go on "
        "meanwhile. Ctrl-C ends the watching, not the backfill: the same command finds it again.",
    )
    past.add_argument("stream", metavar="STREAM", nargs="?", default="", help="all of the source's without it")
    past.add_argument("--since", type=_moment, metavar="DATE", help="leave alone what changed before")
    past.add_argument("--cancel", action="store_true", help="end it; what it read stays")
    past.add_argument("--url", default="", help="of an app elsewhere, in place of --data")
    verbs.add_parser("status", parents=[where], help="how far every stream is read, how fresh it is, what fails")


def _run(options: argparse.Namespace) -> int:
    from flockiq.cli.run import Options, run  # noqa: PLC0415 - loads the host, which `check` does without

    data = options.data or data_of(options.seed if options.samples else None)
    return run(
        Options(
            config=options.config,
            data=data,
            port=options.port,
            seed=options.seed,
            samples=options.samples,
            duration_s=options.duration,
            summary=options.summary,
        )
    )


def _check(options: argparse.Namespace) -> int:
    from flockiq.cli.check import check  # noqa: PLC0415 - loads every model of the config

    return check(options.config)


def _kill_test(options: argparse.Namespace) -> int:
    from flockiq.cli.hold import free_port  # noqa: PLC0415 - nobody else needs it here
    from flockiq.local.kill_test import Options, run  # noqa: PLC0415 - loads the host

    _begins_empty(options.data)
    return run(
        Options(
            kills=options.kills,
            data=options.data.absolute(),  # the app is started from its own folder
            config=options.config.absolute(),
            port=free_port(options.port),
            seed=options.seed,
        )
    )


def _backfill_test(options: argparse.Namespace) -> int:
    from flockiq.cli.hold import free_port  # noqa: PLC0415 - nobody else needs it here
    from flockiq.local.backfill_test import Options, run  # noqa: PLC0415 - loads the services

    _begins_empty(options.data)
    return run(
        Options(
            kills=options.kills,
            records=options.records,
            data=options.data.absolute(),  # the app is started from its own folder
            port=free_port(options.port),
            seed=options.seed,
        )
    )


def _begins_empty(data: Path) -> None:
    """What an earlier test that kills left is thrown away; anything else that somebody keeps there is not."""
    if data.exists() and any(data.iterdir()) and not (data / "app.log").exists():
        raise FlockIQError(f"A kill test begins with an empty folder, and {data} is not: give another --data DIR.")


def data_of(seed: int | None) -> Path:
    """Where a run keeps everything if nobody said: another seed is another world, in a folder of its own."""
    return DATA if seed is None else DATA / f"seed-{seed}"


def _dead_letters(options: argparse.Namespace) -> int:
    from flockiq.cli import dead_letters  # noqa: PLC0415 - loads the services
    from flockiq.serve.deadletters import Filter  # noqa: PLC0415 - likewise
    from flockiq.shared.replay import HUBS  # noqa: PLC0415 - likewise

    where = dead_letters.Options(options.data, options.config, options.url, options.json)
    if options.verb == "show":
        return dead_letters.show_one(where, options.id)
    if options.stage not in ("", *HUBS):
        raise FlockIQError(f"There is no stage {options.stage!r}: records are set aside by {', '.join(HUBS)}.")
    which = Filter(stage=options.stage, source=options.source, stream=options.stream)
    if options.verb == "list":
        return dead_letters.show_list(where, replace(which, state=options.state), options.limit)
    chosen = options.all or which != Filter()
    if bool(options.ids) == chosen:
        raise FlockIQError("Say which to replay: ids, or --stage, --source or --stream, or --all; not both.")
    return dead_letters.replay(where, options.ids, which if chosen else None)


def _erase(options: argparse.Namespace) -> int:
    from flockiq.cli import erase  # noqa: PLC0415 - loads the engine

    asked = (options.data, options.config, options.url, tuple(dict.fromkeys(options.keys)), options.kind, options.json)
    return erase.run(erase.Options(*asked))


def _state(options: argparse.Namespace) -> int:
    from flockiq.cli import state  # noqa: PLC0415 - loads the services

    if options.verb == "export":
        return state.export_to(state.Options(options.data, options.config, options.file))
    return state.import_from(state.Options(options.data, options.config, options.file, options.force))


def _replay(options: argparse.Namespace) -> int:
    from flockiq.cli import replay  # noqa: PLC0415 - loads the engine

    return replay.run(replay.Options(options.data, options.config, options.since))


def _sources(options: argparse.Namespace) -> int:
    if options.verb == "backfill":
        from flockiq.cli import backfill  # noqa: PLC0415 - asks the app, and loads no capture

        asked = (options.data, options.url, options.name, options.stream, options.since or "", options.cancel)
        return backfill.backfill(backfill.Options(*asked))
    from flockiq.cli import sources  # noqa: PLC0415 - loads capture

    where = sources.Options(options.config, options.data)
    match options.verb:
        case "check":
            return sources.check(where, options.name)
        case "discover":
            return sources.discover(where, options.name)
        case "read":
            return sources.show(where, options.name, options.stream, options.limit)
        case _:
            return sources.status(where)


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "check": _check,
    "kill-test": _kill_test,
    "backfill-test": _backfill_test,
    "erase": _erase,
    "state": _state,
    "replay": _replay,
    "dead-letters": _dead_letters,
    "sources": _sources,
}


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _count(text: str) -> int:
    count = _whole(text)
    if count < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return count


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError("must be more than 0")
    return seconds


def _moment(text: str) -> str:
    """RFC 3339 of a date or time; without a zone it is in UTC."""
    try:
        return rfc3339(instant_us(text, dt.UTC))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}: write 2024-01-31 or 2024-01-31T08:00:00Z") from None


def _port(text: str) -> int:
    port = _whole(text)
    if port not in range(65536):
        raise argparse.ArgumentTypeError("must be from 0 to 65535")
    return port

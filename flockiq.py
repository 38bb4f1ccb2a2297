"""The import name of the project: ``flockiq.capture``, ``flockiq.signal``, ….

The stages are plain folders beside this file, and one of them is called ``signal``
like a module of the standard library. So no stage folder is a package of its own: this
module lends them its name, and ``import signal`` goes on meaning the standard library.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parent)]
__version__ = "0.1.0"

if __name__ == "__main__":
    import sys

    sys.modules["flockiq"] = sys.modules["__main__"]
    try:
        from flockiq.cli.main import main
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("flockiq"):
            raise
        sys.exit(
            f"{missing.name} is not installed for {sys.executable}: use .venv/bin/python -m flockiq, "
            "or activate it (. .venv/bin/activate); `make check` makes .venv."
        )

    sys.exit(main())

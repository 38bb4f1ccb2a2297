"""Writes the API's description where API Management reads it: infra/openapi.json."""

from __future__ import annotations

import json
from pathlib import Path

from flockiq.serve.app import application
from flockiq.shared.services import services

DESCRIPTION = Path(__file__).resolve().parents[1] / "infra" / "openapi.json"


def main() -> None:
    """Write it; no service is opened for that."""
    DESCRIPTION.write_text(json.dumps(application(services).openapi(), indent=2) + "\n")


if __name__ == "__main__":
    main()

"""The whole app where callers need a function key, as in Azure without sign-in."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from tests.run.app import ROOT, free_port, running


@pytest.mark.timeout(120)
async def test_with_keys_page_and_api_open_to_a_key_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host asks for it before the app is asked; webhooks stay open, for their signatures say who sends."""
    monkeypatch.setenv("FLOCKIQ_ACCESS", "keys")
    data, port = tmp_path / "data", free_port()
    async with running(data, port, "--seed", "5"), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(400):
            try:
                refused = await client.get("/api/alerts")
                break
            except httpx.TransportError:
                await asyncio.sleep(0.1)
        else:
            pytest.fail((data / "out.log").read_text()[-2000:])
        assert refused.status_code == 401
        keys = json.loads((data / "keys.json").read_text())
        right, wrong = {"x-functions-key": keys["hostKey"]}, {"x-functions-key": "guessed"}
        for path in ("/", "/api/alerts", "/static/page.css"):
            assert (await client.get(path)).status_code == 401, path
            assert (await client.get(path, headers=wrong)).status_code == 401, path
            assert (await client.get(path, headers=right)).status_code in (200, 404), path
        assert (await client.get("/api/health", headers=right)).json()["status"] in ("ok", "degraded")
        unsigned = await client.post("/api/webhooks/marketing", content=b"[]")
        assert unsigned.status_code == 401
        assert "signature" in unsigned.text
        asked = await asyncio.create_subprocess_exec(
            str(ROOT / ".venv/bin/python"), "-m", "flockiq", "dead-letters", "list", "--url", f"http://127.0.0.1:{port}",
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={"FLOCKIQ_FUNCTIONS_KEY": keys["hostKey"], "PATH": ""},
        )  # fmt: skip
        told, _ = await asked.communicate()
        assert asked.returncode == 0, told.decode()

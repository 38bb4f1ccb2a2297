"""Secrets from the environment and from a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flockiq.shared.adapters.embedded.secrets import FILE_VARIABLE, EnvironmentSecrets
from flockiq.shared.errors import ConfigError, NotFound


def kept(folder: Path, text: str, mode: int = 0o600) -> dict[str, str]:
    """The environment that names a secrets file of this text."""
    path = folder / "secrets.json"
    path.write_text(text)
    path.chmod(mode)
    return {FILE_VARIABLE: str(path)}


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return [path.name for path in folder.iterdir()]


async def test_a_file_holds_secrets_by_name(tmp_path: Path) -> None:
    """As config names them."""
    environment = kept(tmp_path, json.dumps({"erp-password": "s3cret"}))
    assert await EnvironmentSecrets(environment).get("erp-password") == "s3cret"


async def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    """So that one secret can be overridden for one run."""
    environment = kept(tmp_path, json.dumps({"erp-password": "file"})) | {"FLOCKIQ_SECRET_ERP_PASSWORD": "environment"}
    assert await EnvironmentSecrets(environment).get("erp-password") == "environment"


async def test_a_fresh_secret_is_read_from_the_file_again(tmp_path: Path) -> None:
    """And only a fresh one."""
    environment = kept(tmp_path, json.dumps({"a": "old"}))
    secrets = EnvironmentSecrets(environment)
    await secrets.get("a")
    kept(tmp_path, json.dumps({"a": "new"}))
    assert await secrets.get("a") == "old"
    assert await secrets.get("a", fresh=True) == "new"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
async def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """With the way out."""
    with pytest.raises(ConfigError, match="chmod 600"):
        await EnvironmentSecrets(kept(tmp_path, '{"a": "b"}', mode)).get("a")


@pytest.mark.parametrize(
    "text", ["", "hunter2", '["hunter2"]', '{"a": hunter2}', '{"a": {"b": "hunter2"}}', '{"hunter2']
)
async def test_a_file_that_is_wrong_is_refused_without_showing_what_it_holds(tmp_path: Path, text: str) -> None:
    """Not in the message, and not in what the error was raised from."""
    with pytest.raises(ConfigError, match=r"secrets\.json") as caught:
        await EnvironmentSecrets(kept(tmp_path, text)).get("a")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Somebody meant it to be there."""
    with pytest.raises(ConfigError, match="nowhere"):
        await EnvironmentSecrets({FILE_VARIABLE: str(tmp_path / "nowhere")}).get("a")


async def test_what_is_not_set_is_not_found_with_both_places_to_set_it() -> None:
    """The variable is spelled out."""
    with pytest.raises(NotFound, match=f"FLOCKIQ_SECRET_CRM_API_KEY.*{FILE_VARIABLE}"):
        await EnvironmentSecrets({}).get("crm-api-key")


async def test_a_secret_of_the_environment_is_not_replaced(tmp_path: Path) -> None:
    """The variable would go on hiding the new value; the error says what to do."""
    environment = kept(tmp_path, "{}") | {"FLOCKIQ_SECRET_A": "old"}
    with pytest.raises(ConfigError, match="unset it"):
        await EnvironmentSecrets(environment).set("a", "hunter2")
    with pytest.raises(ConfigError, match="is not set") as caught:
        await EnvironmentSecrets({}).set("a", "hunter2")
    assert "hunter2" not in str(caught.value)


async def test_a_replaced_secret_is_its_owners_alone(tmp_path: Path) -> None:
    """The file keeps its mode, and nothing is left beside it."""
    environment = kept(tmp_path, '{"b": "kept"}')
    await EnvironmentSecrets(environment).set("a", "new")
    assert json.loads((tmp_path / "secrets.json").read_text()) == {"a": "new", "b": "kept"}
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["secrets.json"]

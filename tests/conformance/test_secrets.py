"""What every Secrets promises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from flockiq.shared.errors import ConfigError, NotFound
from flockiq.shared.ports import Secrets
from flockiq.shared.services import Services

type Sets = Callable[[str, str], Awaitable[None]]


async def test_a_secret_is_what_was_set(set_secret: Sets, secrets: Secrets) -> None:
    """By the name that config gives it."""
    await set_secret("erp-password", "s3cr=t ü")
    assert await secrets.get("erp-password") == "s3cr=t ü"


async def test_a_fresh_secret_is_the_newest(set_secret: Sets, secrets: Secrets) -> None:
    """After a rotation, whatever was cached."""
    await set_secret("erp-password", "old")
    await secrets.get("erp-password")
    await set_secret("erp-password", "new")
    assert await secrets.get("erp-password", fresh=True) == "new"


async def test_a_secret_that_is_not_set_is_not_found_and_the_error_says_where_to_set_it(secrets: Secrets) -> None:
    """The name is in the message, so that a person can go and set it."""
    with pytest.raises(NotFound, match="no-such-secret") as caught:
        await secrets.get("no-such-secret")
    assert "set" in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "../x", "a_b", "ü", "x" * 128, "a\nb"])
async def test_what_is_no_name_of_a_secret_is_not_found(secrets: Secrets, name: str) -> None:
    """Names are those that Key Vault takes."""
    with pytest.raises(NotFound):
        await secrets.get(name)


async def test_a_secret_that_was_replaced_is_the_new_one_everywhere(
    secrets: Secrets, another: Callable[[], Services]
) -> None:
    """A rotation is read back, here and in another process."""
    await secrets.set("crm-refresh-token", "first")
    await secrets.set("crm-refresh-token", "second ü")
    await secrets.set("other", "kept")
    assert await secrets.get("crm-refresh-token") == "second ü"
    elsewhere = another().secrets
    assert await elsewhere.get("crm-refresh-token", fresh=True) == "second ü"
    assert await elsewhere.get("other", fresh=True) == "kept"


@pytest.mark.parametrize("name", ["", "a b", "../x", "a_b"])
async def test_what_is_no_name_of_a_secret_is_not_kept(secrets: Secrets, name: str) -> None:
    """Names are those that Key Vault takes."""
    with pytest.raises(ConfigError):
        await secrets.set(name, "x")

"""How config names a secret, so that it never holds one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field, model_validator

from flockiq.shared.config.names import Model

_SECRET: Final = re.compile(
    r"(proxy-)?authorization|cookie|(.*[-_])?(api|auth|access|subscription|private)[-_]?(key|token)|.*(secret|password).*",
    re.IGNORECASE,
)


class SecretName(Model):
    """Where a secret is found; never the secret."""

    secret: Annotated[str, Field(min_length=1, description="Name of the secret in Key Vault (or the environment).")]

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: object) -> object:
        if not isinstance(given, Mapping | SecretName):  # what stands there may be the secret: it is not repeated
            raise ValueError("must name a secret, not hold one | {secret: NAME}; its value is set outside the config")  # noqa: TRY004 - pydantic gathers ValueErrors
        return given


def _no_secret(given: dict[str, str]) -> dict[str, str]:
    for name in given:
        if _SECRET.fullmatch(name):
            raise ValueError(
                f"sends {name[:60]}, whose value is a secret | auth: names it and sends it, e.g. kind: api_key"
            )
    return given


Sent = Annotated[dict[str, str], AfterValidator(_no_secret)]
"""Headers or query parameters that are sent as they are written: what is called like a credential is refused."""

"""How config names a secret, so that it never holds one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from flockiq.shared.config.names import Model


class SecretName(Model):
    """Where a secret is found; never the secret."""

    secret: Annotated[str, Field(min_length=1, description="Name of the secret in Key Vault (or the environment).")]

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: object) -> object:
        if not isinstance(given, Mapping | SecretName):  # what stands there may be the secret: it is not repeated
            raise ValueError("must name a secret, not hold one | {secret: NAME}; its value is set outside the config")  # noqa: TRY004 - pydantic gathers ValueErrors
        return given

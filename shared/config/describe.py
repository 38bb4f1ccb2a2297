"""Where a source tells what columns a stream has, as people write it: for ``sources discover``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flockiq.shared.config.names import Model
from flockiq.shared.config.reading import Where
from flockiq.shared.fields import FieldType


class Describe(Model):
    """A request whose answer lists a stream's columns."""

    request: Annotated[str, Field(min_length=1, description="Where to ask, below base_url; {path} is the stream's.")]
    columns: Annotated[Where, Field(description="Where in the answer the list of columns is.")] = ""
    name: Annotated[str, Field(min_length=1, description="Where in a column its name is.")] = "name"
    type: Annotated[str, Field(min_length=1, description="Where in a column its type is.")] = "type"
    types: Annotated[
        dict[str, FieldType],
        Field(default_factory=dict, description="The source's types, and what each is here; no others can be held."),
    ]

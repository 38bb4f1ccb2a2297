"""What people write of files: where they land, and how they are written."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from flockiq.shared.config.names import Model

Column = Annotated[str, Field(min_length=1, max_length=200)]


class Files(Model):
    """Where a source's files land."""

    path: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9._ -]+)*$",
            description="Container, or container/folder, whose files are this source's.",
        ),
    ]


class Csv(Model):
    """Separated values, by default with a header row; as they are, or in a gzip or zip file."""

    kind: Annotated[Literal["csv"], Field(description="Separated values.")]
    delimiter: Annotated[
        str, Field(min_length=1, max_length=1, description='What separates values; "\\t" is the tab.')
    ] = ","
    quote: Annotated[
        str, Field(max_length=1, description='What encloses values, doubled inside them; "" if nothing does.')
    ] = '"'
    escape: Annotated[str, Field(max_length=1, description="What makes the next character plain, if anything.")] = ""
    encoding: Annotated[
        Literal["utf-8", "utf-16", "windows-1252", "iso-8859-1"],
        Field(description="The text's encoding; a byte order mark knows better."),
    ] = "utf-8"
    skip: Annotated[int, Field(ge=0, le=1_000, description="Lines before the header (or the first row).")] = 0
    columns: Annotated[
        tuple[Column, ...], Field(description="The names of the columns, if the file has no header row.")
    ] = ()
    empty_is_null: Annotated[bool, Field(description="An empty value means that there is none.")] = True

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        marks = [mark for mark in (self.delimiter, self.quote, self.escape) if mark]
        if len(set(marks)) < len(marks) or any(mark in "\r\n\0 " for mark in marks):
            raise ValueError('delimiter, quote and escape must differ, and be no space or line break | e.g. , and "')
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("columns names one twice | each column has a name of its own")
        return self


class Ndjson(Model):
    """One JSON object a line (JSON Lines), UTF-8; as they are, or in a gzip or zip file."""

    kind: Annotated[Literal["ndjson"], Field(description="One JSON object a line.")]


class Parquet(Model):
    """Apache Parquet."""

    kind: Annotated[Literal["parquet"], Field(description="Apache Parquet.")]


FileFormat = Annotated[Csv | Ndjson | Parquet, Field(discriminator="kind")]

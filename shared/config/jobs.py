"""A read that the source prepares first, as people write it: submitted, waited for, then fetched page by page."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from flockiq.shared.config.durations import UNITS, Duration
from flockiq.shared.config.names import Model
from flockiq.shared.config.reading import Where

_PLACE = "{job}"


class Call(Model):
    """A request about a job."""

    method: Annotated[Literal["DELETE", "PATCH", "POST", "PUT"], Field(description="How it is asked.")]
    path: Annotated[str, Field(min_length=1, description="Where, below base_url; {job} is the job's id.")]
    body: Annotated[dict[str, Any], Field(default_factory=dict, description="What is sent along, as JSON.")]


class Job(Model):
    """How the source is made to prepare a read, and to tell of it."""

    # A connector may give some of it, and then a file need not: so editors ask for none, the model for what is missing.
    model_config = ConfigDict(json_schema_extra=lambda schema: schema.pop("required"))

    submit: Annotated[
        str,
        Field(
            min_length=1,
            description="Where a job is posted to. Its JSON body is query and incremental.query; a name a.b reaches "
            "into an object.",
        ),
    ]
    id: Annotated[Where, Field(min_length=1, description="Where in the answer the job's id is.")] = "id"
    status: Annotated[str, Field(min_length=1, description="Where its state is asked for; {job} is the id.")]
    state: Annotated[Where, Field(min_length=1, description="Where in that answer the state is.")]
    done: Annotated[tuple[str, ...], Field(min_length=1, description="States in which there are results.")]
    failed: Annotated[tuple[str, ...], Field(min_length=1, description="States in which there never will be any.")]
    why: Annotated[Where, Field(description="Where in that answer the reason of a failure is.")] = ""
    total: Annotated[Where, Field(description="Where in that answer the number of records is.")] = ""
    results: Annotated[str, Field(description="Where the first page of results is; {job} is the id.")] = ""
    results_at: Annotated[
        Where, Field(description="Where in the state's answer the link of the results is, if it gives one.")
    ] = ""
    sample: Annotated[
        dict[str, str],
        Field(
            default_factory=dict,
            description="What is sent instead when only a look is taken (sources check, read); {page_size} is how "
            "many records.",
        ),
    ]
    abort: Annotated[Call | None, Field(description="How a job that is given up is ended.")] = None
    delete: Annotated[Call | None, Field(description="How a job that is not needed any more is removed.")] = None
    first_look: Annotated[Duration, Field(ge=UNITS["ms"], description="How soon its state is first asked for.")] = (
        UNITS["s"]
    )
    longest_pause: Annotated[
        Duration, Field(ge=UNITS["ms"], description="Longest pause between two looks, which come ever less often.")
    ] = 60 * UNITS["s"]
    give_up: Annotated[Duration, Field(ge=UNITS["s"], description="How long a job may take before it is aborted.")] = (
        UNITS["d"]
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name in ("status", "results"):
            if getattr(self, name) and _PLACE not in getattr(self, name):
                raise ValueError(f"has no {_PLACE} in {name} | services/jobs/{_PLACE}")
        if bool(self.results) == bool(self.results_at):
            raise ValueError("needs one of results and results_at | where the results are, or where that is told")
        if both := set(self.done) & set(self.failed):
            raise ValueError(f"calls {', '.join(sorted(both))} both done and failed | one of them")
        return self

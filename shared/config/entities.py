"""Entity files: the real things records describe, their fields, and how to judge them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from flockiq.shared.config.durations import Duration
from flockiq.shared.config.names import FIELDS_TAKEN, SUBJECTS_TAKEN, Expression, FieldName, Line, Model, Name, Zone
from flockiq.shared.fields import MAX_SCALE, FieldType
from flockiq.shared.layout import HOURS

Strategy = Literal["rank", "recent", "complete", "longest", "highest", "lowest", "frequent"]
Ignored = Literal["case", "space", "punctuation"]
Cascade = Annotated[tuple[Strategy, ...], Field(min_length=1, max_length=7)]

Season = Literal["hour_of_week"]


def _free(name: str) -> str:
    if name in FIELDS_TAKEN:
        raise ValueError(f"no field can be called {name}: conditions use the word | rename, e.g. lead_{name}")
    return name


FreeName = Annotated[FieldName, AfterValidator(_free)]
"""A field's name that means nothing else in a condition."""

MAX_FIELDS = 200
SEASONAL_ALPHA = 0.03  # of hourly values: a day and a half, so that the level does not chase the hours


class FieldModel(Model):
    """One field of an entity type."""

    type: FieldType = Field(description="What its values are.")
    scale: int | None = Field(default=None, ge=0, le=MAX_SCALE, description="Decimals: digits after the point (2).")
    currency: FieldName | None = Field(
        default=None, description="Decimals: the field that holds the currency; both come from one source."
    )
    description: Line | None = Field(default=None, description="What it means, for whoever reads the file.")

    @model_validator(mode="after")
    def _decimal_only(self) -> Self:
        if self.type != "decimal" and (self.scale is not None or self.currency is not None):
            raise ValueError(f"scale and currency belong to decimals, not to a {self.type} | remove them")
        return self


class SurvivorshipModel(Model):
    """Which source's value is the truth. Each cascade is tried in order; the first that decides wins."""

    default: Cascade = Field(default=("recent",), description="The cascade of every field not named under fields.")
    ranks: dict[FieldName, tuple[Name, ...]] = Field(
        default_factory=dict, description="Sources by trust, best first: under default, or for one field."
    )
    fields: dict[FieldName, Cascade] = Field(default_factory=dict, description="The cascade of single fields.")


class DriftModel(Model):
    """How closely sources must agree on a field."""

    absolute: float | None = Field(default=None, ge=0, description="Numbers: a difference up to this is agreement.")
    relative: float | None = Field(
        default=None, ge=0, le=1, description="Numbers: a difference up to this share of the larger is agreement."
    )
    ignore: tuple[Ignored, ...] = Field(default=(), description="Text: what makes no difference.")
    set: bool = Field(default=False, description="Text that lists things (a, b; c): order and repeats make none.")


class AnomalyModel(Model):
    """What counts as unusual for a field: its history is followed by an exponentially weighted mean."""

    by: FieldName | None = Field(
        default=None, description="Whose history: the entities that share this field's value (partition_by's field)."
    )
    warm_up: int = Field(
        default=8, ge=2, le=10_000, description="Values to have seen before judging one (168 with a season)."
    )
    alpha: float = Field(
        default=0.1, gt=0, lt=1, description="Weight of the newest value in the history (0.03 with a season)."
    )
    refractory: Duration = Field(default=0, description="After an anomaly, stay quiet this long.")
    season: Season | None = Field(default=None, description="The rhythm of its values: each hour of the week its own.")
    zone: Zone | None = Field(default=None, description="Whose clocks tell the hour, such as Europe/Berlin (UTC).")

    @model_validator(mode="before")
    @classmethod
    def _seasonal(cls, given: object) -> object:
        """A rhythm needs a longer history and a steadier mean."""
        if isinstance(given, Mapping) and given.get("season") is not None:
            return {"warm_up": HOURS, "alpha": SEASONAL_ALPHA} | dict(given)
        return given

    @model_validator(mode="after")
    def _zone_of_season(self) -> Self:
        if self.zone is not None and self.season is None:
            raise ValueError("zone says by whose clocks a season goes, and there is none | add season: hour_of_week")
        return self

    @property
    def clocks(self) -> str:
        """The zone of its season; "" without one."""
        return (self.zone or "UTC") if self.season is not None else ""


class EntityFile(Model):
    """A file of config/entities: one entity type."""

    entity: Name = Field(description="The entity type's name.")
    description: Line | None = Field(default=None, description="What it is, for whoever reads the file.")
    match_key: Expression | None = Field(
        default=None, description="CEL over the fields, giving text: records where it is equal are the same thing."
    )
    partition_by: FieldName | None = Field(
        default=None, description="The field that places it: entities with the same value are handled together."
    )
    fields: dict[FreeName, FieldModel] = Field(min_length=1, max_length=MAX_FIELDS, description="Its fields.")
    survivorship: SurvivorshipModel = SurvivorshipModel()
    drift: dict[FieldName, DriftModel] = Field(default_factory=dict, description="Fields sources should agree on.")
    anomalies: dict[FieldName, AnomalyModel] = Field(default_factory=dict, description="Numbers to be watched.")
    lateness: Duration | None = Field(
        default=None, description="For how long what comes late is worked out again (FLOCKIQ_LATENESS_S)."
    )
    versions: int | None = Field(
        default=None, ge=1, le=10_000, description="And how many versions deep (FLOCKIQ_VERSIONS_KEPT)."
    )
    overrides: bool = Field(default=False, description="Whether people may set golden values, until a time they say.")

    @field_validator("entity")
    @classmethod
    def _free_name(cls, name: str) -> str:
        if name in SUBJECTS_TAKEN:
            raise ValueError(f"an entity type can't be called {name!r}: alerts use the word | choose another name")
        return name

"""What pydantic found wrong, said as a person would: where, what, what is allowed, what was meant."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from flockiq.shared.config.document import Document, Place
from flockiq.shared.config.durations import format_duration, parse_duration
from flockiq.shared.config.names import SPELLED
from flockiq.shared.errors import Problem

_NAMED = 24  # names worth listing

_MAPPING = ("mapping", "keys and values, below it or as {key: value}")
_FORMS = {  # pydantic's kind of error → what is expected, and how that is written
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "tuple_type": ("list", "in brackets: [one, another]"),
    "list_type": ("list", "in brackets: [one, another]"),
    "bool_parsing": ("yes or no", "true or false"),
    "bool_type": ("yes or no", "true or false"),
    "int_parsing": ("whole number", "digits"),
    "int_type": ("whole number", "digits"),
    "string_type": ("text", "in quotes if need be"),
}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What is allowed, with the likeliest first: ``did you mean "amount"? known: …``."""
    names = sorted(set(known))
    if not names:
        return "there are none"
    listed = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"? known: {listed}' if close else f"known: {listed}"


def validate[Model: BaseModel](model: type[Model], document: Document) -> tuple[Model | None, list[Problem]]:
    """The document as ``model``, or every reason why it isn't one."""
    if not isinstance(document.data, dict):
        return None, [
            document.problem((), "must hold keys and values", f"begin with {next(iter(model.model_fields))}:")
        ]
    try:
        return model.model_validate(document.data), []
    except ValidationError as errors:
        seen: dict[tuple[int, str], Problem] = {}
        found = errors.errors(include_url=False)
        wrong_items = {error["loc"][:-1] for error in found}
        for error in found:
            if error["type"] == "too_short" and error["loc"] in wrong_items:
                continue  # only because what is wrong in it was left out
            problem = _problem(model, document, error)
            seen.setdefault((problem.line, problem.field), problem)  # the arms of a union complain one by one
        return None, list(seen.values())


def _problem(model: type[BaseModel], document: Document, error: typing.Mapping[str, Any]) -> Problem:
    place = _place(document.data, error["loc"])
    name = str(place[-1]) if place else ""
    kind = error["type"]
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        return document.problem(place, "is not a key here", did_you_mean(name, _keys(model, place[:-1])))
    if kind == "missing":
        missing = str(error["loc"][-1])
        return document.problem(place, f"lacks {missing}", _described(model, place, missing))
    if kind == "value_error":
        wrong, _, allowed = str(context["error"]).partition(" | ")
        return document.problem(place, wrong, allowed)
    shown = repr(error.get("input"))[:60]
    if kind in ("literal_error", "enum"):
        choices = [choice.strip("' ") for choice in context["expected"].replace(" or ", ", ").split(", ")]
        return document.problem(place, f"{shown} is not allowed here", did_you_mean(str(error.get("input")), choices))
    if kind == "union_tag_invalid":
        kinds = context["expected_tags"].replace("'", "").split(", ")
        return document.problem(
            (*place, "kind"), f"{context['tag']!r} is not allowed here", did_you_mean(context["tag"], kinds)
        )
    if kind == "union_tag_not_found":
        return document.problem(place, "lacks kind", f"one of {', '.join(_kinds(model, place))}")
    return document.problem(place, *_misfit(document.data, place, error))


def _misfit(data: Any, place: Place, error: typing.Mapping[str, Any]) -> tuple[str, str]:
    """What is wrong with a value of another form or size than is wanted, and what is wanted."""
    kind, context, shown = error["type"], error.get("ctx", {}), repr(error.get("input"))[:60]
    if kind == "greater_than_equal" and _written_as_duration(data, place):
        return "is too short a time", f"at least {format_duration(context['ge'])}"
    if kind == "too_short":
        return f"{shown} is too short", f"at least {context['min_length']}"
    if (form := _FORMS.get(kind)) is not None:
        return f"{shown} is no {form[0]}", form[1]
    if kind == "string_pattern_mismatch" and (words := SPELLED.get(context["pattern"])):
        return f"{shown} can't be a name", words
    message = str(error["msg"])
    return f"{shown} does not fit" if place else "does not fit", message[0].lower() + message[1:]


def _written_as_duration(data: Any, place: Place) -> bool:
    for part in place:
        data = data[part]
    try:
        parse_duration(data)
    except ValueError:
        return False
    return True


def _place(data: Any, where: tuple[str | int, ...]) -> Place:
    """The part of pydantic's location that exists in the file: union arms are named in it too."""
    place: list[str | int] = []
    for part in where:
        in_mapping = isinstance(data, dict) and part in data
        if in_mapping or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            data = data[part]
            place.append(part)
    return tuple(place)


def _keys(model: type[BaseModel], place: Place) -> set[str]:
    """The keys a mapping at ``place`` may have."""
    return {field.alias or name for found in _models(model, place) for name, field in found.model_fields.items()}


def _kinds(model: type[BaseModel], place: Place) -> list[str]:
    """The values that ``kind`` may have in what stands at ``place``."""
    fields = [found.model_fields["kind"] for found in _models(model, place) if "kind" in found.model_fields]
    return list(dict.fromkeys(str(value) for field in fields for value in typing.get_args(field.annotation)))


def _described(model: type[BaseModel], place: Place, key: str) -> str:
    for found in _models(model, place):
        for name, field in found.model_fields.items():
            if key in (name, field.alias) and field.description:
                return field.description
    return "it is required"


def _models(model: type[BaseModel], place: Place) -> list[type[BaseModel]]:
    """The models that may describe what stands at ``place``."""
    candidates: list[Any] = [model]
    for part in place:
        candidates = [inner for candidate in candidates for inner in _inside(candidate, part)]
    return [candidate for candidate in candidates if isinstance(candidate, type) and issubclass(candidate, BaseModel)]


def _inside(annotation: Any, part: str | int) -> Iterator[Any]:
    """The types of what stands under ``part`` in a value of type ``annotation``, unions taken apart."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if part in (name, field.alias):
                yield from _arms(field.annotation)
    arguments = typing.get_args(annotation)
    if arguments and typing.get_origin(annotation) not in (typing.Literal, typing.Annotated):
        yield from _arms(arguments[-1] if arguments[-1] is not Ellipsis else arguments[0])


def _arms(annotation: Any) -> Iterator[Any]:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        for arm in typing.get_args(annotation):
            yield from _arms(arm)
    elif origin is typing.Annotated:
        yield from _arms(typing.get_args(annotation)[0])
    else:
        yield annotation

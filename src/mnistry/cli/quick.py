"""typer's commands, which convert text and paths without pydantic."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

_KINDS: dict[Any, Callable[[Any], Any]] = {
    str: str,
    Path: Path,
    list[str]: list,
    list[Path]: lambda values: [Path(value) for value in values],
}


class QuickCommand(TyperCommand):
    """A command whose plain arguments are converted here.

    typer converts all by pydantic, which takes longer to import than a page takes to be read. It
    still does for numbers that are given, and whatever else is more than text.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """Its parameters: defaults, text and paths go past pydantic."""
        return [_quicker(parameter) for parameter in super().get_params(ctx)]


class QuickGroup(TyperGroup):
    """The same for what stands before a command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its parameters: defaults, text and paths go past pydantic."""
        return [_quicker(parameter) for parameter in super().get_params(ctx)]


def _quicker(parameter: Any) -> Any:
    """The parameter itself; as it is where typer is built otherwise than in 0.29."""
    own = vars(parameter)
    if hasattr(parameter, "type_descriptor") and "process_value" not in own:
        own["process_value"] = _processor(parameter)
    return parameter


def _processor(parameter: Any) -> Callable[[Any, Any], Any]:
    usual, kind = parameter.process_value, parameter.type_descriptor
    convert = _KINDS.get(kind.annotation)
    if kind.is_path and (kind.parameter_info.exists or kind.parameter_info.readable):
        convert = None  # typer looks at what is there
    several = parameter.multiple or parameter.nargs != 1

    def process_value(context: Any, value: Any) -> Any:
        if value is None and not parameter.required:
            value = () if several else None
        elif value and convert:
            value = convert(value)
        elif kind.annotation not in (int, float) or type(value) is not kind.annotation:
            return usual(context, value)
        if parameter.callback is not None:
            return parameter.callback(context, parameter, value)
        return value

    return process_value

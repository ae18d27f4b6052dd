"""YAML whose every value knows the line it stands on."""

from pathlib import Path
from typing import Any

from rxllm._extras import missing_extra

__all__ = ["ConfigError", "Lines", "load_yaml"]

_Place = tuple[int | str, ...]


class ConfigError(ValueError):
    """A configuration that cannot be used: the file, the line, the field and what to do."""


class Lines:
    """On which line of a file each value stands."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[_Place, int] = {}

    def note(self, place: _Place, line: int) -> None:
        """The value at ``place`` stands on ``line``."""
        self._lines[place] = line

    def error(self, place: _Place, message: str) -> ConfigError:
        """The error for the value at ``place``, or for what should be there."""
        known = place
        while known and known not in self._lines:
            known = known[:-1]
        field = ".".join(str(step) for step in place)
        return ConfigError(f"{self._path}, line {self._lines.get(known, 1)}: {field + ': ' if field else ''}{message}")


def load_yaml(path: Path) -> tuple[Any, Lines]:
    """The document in a file, and where its values stand.

    Raises:
        ConfigError: it is no YAML, or says a thing twice.
        OSError: it cannot be read.
        ImportError: the extra ``proxy`` is not installed.
    """
    try:
        import yaml
    except ImportError:
        raise missing_extra("A configuration file", "proxy") from None
    lines = Lines(path)
    reason, line = "", 1
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        try:
            node = loader.get_single_node()
            return (None if node is None else _plain(loader, node, (), lines)), lines
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        reason = f"this is no UTF-8 text: {error.reason}"
    except RecursionError:
        reason = "this holds itself"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        reason = " ".join(filter(None, (error.problem, error.context, error.note)))
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
    raise ConfigError(f"{path}, line {line}: this is no YAML: {reason}")


def _plain(loader: Any, node: Any, place: _Place, lines: Lines) -> Any:
    """What a node says, as plain Python."""
    import yaml

    lines.note(place, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(loader, item, (*place, index), lines) for index, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)
    loader.flatten_mapping(node)
    members: dict[str, Any] = {}
    own: set[str] = set()  # what stands in this mapping's own lines, and was not merged into it by <<
    for key_node, value_node in node.value:
        key: object = loader.construct_object(key_node, deep=True)
        name = key if isinstance(key, str) else repr(key)
        if node.start_mark.index <= key_node.start_mark.index < node.end_mark.index:
            if name in own:
                lines.note((*place, name), key_node.start_mark.line + 1)
                raise lines.error((*place, name), "this is said twice: leave one of the two out")
            own.add(name)
        members[name] = _plain(loader, value_node, (*place, name), lines)
        lines.note((*place, name), key_node.start_mark.line + 1)
    return members

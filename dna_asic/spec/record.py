"""Strict conversion between frozen dataclasses and plain dictionaries (YAML or JSON)."""

import dataclasses
import difflib
import enum
import types
import typing
from pathlib import Path

import yaml

from dna_asic.errors import SpecError

MOST_BYTES = 1 << 25  # of a file
MOST_NODES = 1 << 20  # of a file, aliases written out
SHOWN = 200  # characters of a wrong value


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe loader that refuses a key given twice, a value that its tag does not read, and aliases of aliases that would
    grow beyond any memory.
    """

    def get_single_node(self):
        node = super().get_single_node()
        if node is not None and _size(node, {}) > MOST_NODES:
            raise yaml.composer.ComposerError(None, None, f"with its aliases written out it has more than {MOST_NODES} "
                                              f"values", node.start_mark)
        return node

    def construct_object(self, node, deep=False):
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError, TypeError, OverflowError) as error:
            what = (f"'{_said(node.value)}' is no {node.tag.rpartition(':')[2]}" if isinstance(node, yaml.ScalarNode)
                    else "a key must be plain text")
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error


def _size(node, sizes: dict) -> int:
    """Nodes below and with it, each as often as it is named."""
    if node in sizes:
        if sizes[node] is None:
            raise yaml.composer.ComposerError(None, None, "an alias stands within what it names", node.start_mark)
        return sizes[node]
    sizes[node] = None
    below = [] if isinstance(node, yaml.ScalarNode) else node.value
    flat = (n for item in below for n in (item if isinstance(item, tuple) else (item,)))
    sizes[node] = 1 + sum(_size(n, sizes) for n in flat)
    return sizes[node]


def _said(value) -> str:
    """A wrong value as messages show it."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _unique_mapping(loader, node):
    seen = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise SpecError(f"Key '{key}' stands twice (line {key_node.start_mark.line + 1}); keep one.")
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def load_yaml(path: Path):
    """Read one YAML file by the safe loader; duplicate keys, syntax errors and too large a file raise SpecError."""
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise SpecError(f"it has more than the {MOST_BYTES >> 20} MiB that are read; make it smaller.")
        return yaml.load(data.decode(), Loader=_UniqueKeyLoader)  # noqa: S506
    except OSError as error:
        raise SpecError(f"File '{path}' cannot be read: {error.strerror}; check the path.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"File '{path}' is not valid YAML: {error}") from error
    except RecursionError as error:
        raise SpecError(f"File '{path}' is not valid YAML: its values are nested too deeply.") from error
    except SpecError as error:
        raise SpecError(f"File '{path}': {error}") from error


def to_plain(value):
    """Turn a record into dictionaries, lists, strings and numbers; enums become their names."""
    if dataclasses.is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.name if isinstance(value, enum.IntEnum) else value.value
    if isinstance(value, dict):
        return {to_plain(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list, frozenset)):
        return [to_plain(v) for v in value]
    return value


def from_plain(cls, data, subject: str):
    """Build record `cls` from plain data; all faults of one mapping are reported together.

    Raises SpecError naming `subject`, the rule, the value and the remedy.
    """
    return _convert(cls, data, subject)


def _convert(kind, data, where):
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if data is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), data, where)
    if dataclasses.is_dataclass(kind):
        return _convert_record(kind, data, where)
    if origin is tuple:
        if not isinstance(data, (list, tuple)):
            raise SpecError(f"{where} must be a list, not {_shown(data)}.")
        element = lambda i: args[0] if args[-1] is Ellipsis else args[i]  # noqa: E731
        if args[-1] is not Ellipsis and len(data) != len(args):
            raise SpecError(f"{where} must have {len(args)} entries, not {len(data)}.")
        return tuple(_convert(element(i), v, f"{where}[{i}]") for i, v in enumerate(data))
    if origin is dict:
        if not isinstance(data, dict):
            raise SpecError(f"{where} must be a mapping, not {_shown(data)}.")
        return {_convert(args[0], k, where): _convert(args[1], v, f"{where}.{k}") for k, v in data.items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        table = kind.__members__ if issubclass(kind, enum.IntEnum) else {m.value: m for m in kind}
        if not isinstance(data, str) or data not in table:
            raise SpecError(f"{where} must be one of {', '.join(table)}, not {_shown(data)}{_hint(data, table)}")
        return table[data]
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise SpecError(f"{where} must be {kind.__name__}, not {_shown(data)}.")
    return data


def _convert_record(cls, data, where):
    if not isinstance(data, dict):
        raise SpecError(f"{where} must be a mapping with the keys of {cls.__name__}, not {_shown(data)}.")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    faults, values = [], {}
    for key in data:
        if key not in fields:
            faults.append(f"Unknown key '{key}' in {where}{_hint(key, fields)}")
    for name, field in fields.items():
        if name in data:
            try:
                values[name] = _convert(hints[name], data[name], f"{where}.{name}")
            except SpecError as error:
                faults.append(str(error))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            faults.append(f"Missing key '{name}' in {where}; add it.")
    if faults:
        raise SpecError("\n".join(faults))
    return cls(**values)


def _shown(data) -> str:
    return _said(repr(data))


def _hint(key, names):
    close = difflib.get_close_matches(str(key), [str(n) for n in names], n=1)
    return f"; did you mean '{close[0]}'?" if close else "."

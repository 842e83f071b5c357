"""Strict conversion between frozen dataclasses and plain dictionaries (YAML or JSON)."""

import dataclasses
import difflib
import enum
import types
import typing
from pathlib import Path

import yaml

from dna_asic.errors import SpecError


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe loader that refuses a key given twice."""


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
    """Read one YAML file by the safe loader; duplicate keys and syntax errors raise SpecError."""
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506
    except OSError as error:
        raise SpecError(f"File '{path}' cannot be read: {error.strerror}; check the path.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"File '{path}' is not valid YAML: {error}") from error
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
            raise SpecError(f"{where} must be a list, not {data!r}.")
        element = lambda i: args[0] if args[-1] is Ellipsis else args[i]  # noqa: E731
        if args[-1] is not Ellipsis and len(data) != len(args):
            raise SpecError(f"{where} must have {len(args)} entries, not {len(data)}.")
        return tuple(_convert(element(i), v, f"{where}[{i}]") for i, v in enumerate(data))
    if origin is dict:
        if not isinstance(data, dict):
            raise SpecError(f"{where} must be a mapping, not {data!r}.")
        return {_convert(args[0], k, where): _convert(args[1], v, f"{where}.{k}") for k, v in data.items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        table = kind.__members__ if issubclass(kind, enum.IntEnum) else {m.value: m for m in kind}
        if not isinstance(data, str) or data not in table:
            raise SpecError(f"{where} must be one of {', '.join(table)}, not {data!r}{_hint(data, table)}")
        return table[data]
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise SpecError(f"{where} must be {kind.__name__}, not {data!r}.")
    return data


def _convert_record(cls, data, where):
    if not isinstance(data, dict):
        raise SpecError(f"{where} must be a mapping with the keys of {cls.__name__}, not {data!r}.")
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


def _hint(key, names):
    close = difflib.get_close_matches(str(key), [str(n) for n in names], n=1)
    return f"; did you mean '{close[0]}'?" if close else "."

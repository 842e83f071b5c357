"""A quantised network on disk: arrays in .npz (no pickle), the rest in JSON beside it."""

import dataclasses
import io
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dna_asic.errors import SpecError
from dna_asic.spec.layer import NetworkSpec
from dna_asic.spec.quant import MULTIPLIER_BITS, SHIFT_BITS, QuantLayer, QuantSpec
from dna_asic.spec.record import from_plain, to_plain

ARRAYS = {"weight": np.int8, "bias": np.int32, "multiplier": np.int64, "shift": np.int64}
RECORD_FILE, ARRAY_FILE = "quant.json", "quant.npz"


@dataclass(frozen=True, kw_only=True)
class _Scalars:
    clamp_lo: int
    clamp_hi: int
    res_multiplier: int
    res_shift: int
    output_scale: float


@dataclass(frozen=True, kw_only=True)
class _Record:
    network: NetworkSpec
    input_scale: float
    layers: dict[str, _Scalars]


def save_quant(quant: QuantSpec, folder: Path) -> None:
    """Write `quant.json` and `quant.npz` into `folder`, each whole or not at all; same network, same bytes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = [f.name for f in dataclasses.fields(_Scalars)]
    scalars = {k: _Scalars(**{n: getattr(q, n) for n in names}) for k, q in quant.layers.items()}
    record = _Record(network=quant.network, input_scale=quant.input_scale, layers=scalars)
    arrays = {f"{name}.{key}": getattr(q, key) for name, q in quant.layers.items() for key in ARRAYS}
    _write(folder / ARRAY_FILE, _pack(arrays))
    _write(folder / RECORD_FILE, (json.dumps(to_plain(record), indent=1) + "\n").encode())


def _pack(arrays: dict[str, np.ndarray]) -> bytes:
    """An .npz whose entries bear no time of writing."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key, array in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{key}.npy"), entry.getvalue())
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def load_quant(folder: Path) -> QuantSpec:
    """Inverse of `save_quant`. Raises SpecError for a missing, damaged or inconsistent file."""
    folder = Path(folder)
    try:
        plain = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        with np.load(folder / ARRAY_FILE, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise SpecError(f"Quantised network '{folder}' cannot be read: {error}; quantise again.") from error
    record = from_plain(_Record, plain, f"'{folder / RECORD_FILE}'")
    _check(folder, record, arrays)
    layers = {name: QuantLayer(**{key: arrays[f"{name}.{key}"] for key in ARRAYS}, **dataclasses.asdict(scalars))
              for name, scalars in record.layers.items()}
    return QuantSpec(network=record.network, layers=layers, input_scale=record.input_scale)


def _check(folder: Path, record: _Record, arrays: dict[str, np.ndarray]) -> None:
    names = [layer.name for layer in record.network.layers]
    faults = [] if set(names) == set(record.layers) else [f"layers must be {names}, not {list(record.layers)}."]
    for layer in record.network.layers:
        s, n = layer.shape, (layer.out_channels,)
        shapes = {"weight": (s.g * s.k, s.c, s.r, s.s), "bias": n, "multiplier": n, "shift": n}
        for key, shape in shapes.items():
            array = arrays.get(f"{layer.name}.{key}")
            if array is None or array.shape != shape or array.dtype != ARRAYS[key]:
                got = "missing" if array is None else f"{array.dtype} {list(array.shape)}"
                faults.append(f"{layer.name}.{key} must be {np.dtype(ARRAYS[key])} {list(shape)}, not {got}.")
        for key, bits in (("multiplier", MULTIPLIER_BITS), ("shift", SHIFT_BITS)):
            array = arrays.get(f"{layer.name}.{key}")
            if array is not None and array.size and (array.min() < 0 or array.max() >= 1 << bits):
                faults.append(f"{layer.name}.{key} must be in 0..{(1 << bits) - 1}.")
    if faults:
        raise SpecError("\n".join(f"Quantised network '{folder}': {fault}" for fault in faults))

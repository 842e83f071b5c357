"""Named chips after published dataflows."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from dna_asic.errors import SpecError
from dna_asic.gads.space import CHUNK_ENTRIES, GadsSpace
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig
from dna_asic.spec.record import from_plain, load_yaml

_FILE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One entry of presets.yaml; keys as there. verified: `rtl_gen.emit.verilog_digest` of the Verilog for which
    `make presets` last held, bytes and cycles of its layers in simulation; None before the first time.
    """

    about: str
    least_utilisation: float
    port_bytes: int
    memory_latency_cycles: int
    chunk: ChunkConfig
    verified: str | None = None

    def accelerator(self, name: str, clk_period_ns: float) -> AcceleratorConfig:
        """The chip at a clock."""
        return AcceleratorConfig(name=name, chunks=(self.chunk,), port_bytes=self.port_bytes,
                                 memory_latency_cycles=self.memory_latency_cycles, clk_period_ns=clk_period_ns)

    def status(self, verilog: str) -> str:
        """What is known of its Verilog with this digest."""
        if self.verified is None:
            return "not verified"
        return "verified" if self.verified == verilog else "verified before the generator changed"


def presets() -> dict[str, Preset]:
    """All presets by name."""
    return from_plain(dict[str, Preset], load_yaml(_FILE), "presets")


def preset(name: str) -> Preset:
    """One preset; raises SpecError for a name that is none."""
    known = presets()
    if name not in known:
        raise SpecError(f"Preset must be one of {', '.join(known)}, not '{name}'.")
    return known[name]


def fitted_preset(space: GadsSpace) -> AcceleratorConfig:
    """The chip of `space` next to the first preset whose dataflow it has, named after that: sizes at the nearest option
    by ratio, the larger of two. Raises SpecError where it has none of their dataflows.
    """
    for name, entry in presets().items():
        wanted = _entries(entry)
        sample = {c.label: _nearest(c.options, wanted[c.label.rpartition(".")[2]]) for c in space.choices}
        if None not in sample.values():
            return dataclasses.replace(space.build(sample), name=name)
    raise SpecError(f"Space '{space.name}' has the dataflow of none of the presets {', '.join(presets())}; unpin "
                    f"spatial, reduction or delivery.")


def _entries(entry):
    """A preset in the words of a space."""
    chunk = entry.chunk
    plain = {"chunks": 1, "port_bytes": entry.port_bytes} | {e: getattr(chunk, e, None) for e in CHUNK_ENTRIES}
    return plain | {"spatial": f"{chunk.row_dim.name} {chunk.col_dim.name}", "reduction": chunk.reduction.value,
                    "delivery": chunk.delivery.value}


def _nearest(options, wanted):
    """None for a word that is no option."""
    if isinstance(wanted, str):
        return wanted if wanted in options else None
    return min(options, key=lambda x: (max(x / wanted, wanted / x), -x))

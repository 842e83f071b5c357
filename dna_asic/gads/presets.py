"""Named chips after published dataflows."""

from dataclasses import dataclass
from pathlib import Path

from dna_asic.errors import SpecError
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

"""What the batched cost model says of points: the function that the search calls."""

import functools
from collections.abc import Sequence

import torch

from dna_asic.cost import ChipBatch, LayerBatch, MappingBatch, Prices, evaluate, layer_kind
from dna_asic.cost.design import design_schedule
from dna_asic.cost.model import CostBatch
from dna_asic.cost.schedule import Schedule
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.spec.accelerator import AcceleratorConfig, Mapping
from dna_asic.spec.design import Design
from dna_asic.spec.dims import Operand
from dna_asic.spec.instruction import INSTRUCTION_BYTES
from dna_asic.spec.layer import LayerShape
from dna_asic.technology import load_technology

W, I, O = Operand  # noqa: E741
Row = tuple[LayerShape, AcceleratorConfig, Mapping]


def evaluate_rows(rows: Sequence[Row]) -> list[tuple[int, dict[str, int]]]:
    """(cycles, counters by the chip's names) of each row (layer, chip of one chunk, mapping); a batch per kind."""
    results, by_kind = {}, {}
    for n, (shape, _, _) in enumerate(rows):
        by_kind.setdefault(layer_kind(shape), []).append(n)
    for members in by_kind.values():
        shapes, chips, mappings = zip(*(rows[n] for n in members), strict=True)
        cost = evaluate(LayerBatch.from_shapes(shapes), ChipBatch.from_configs(chips),
                        MappingBatch.from_mappings(mappings), Prices.of(chips, _technology()))
        ports = torch.tensor([c.port_bytes for c in chips])
        counters = {name: values.tolist() for name, values in _counters(cost, ports).items()}
        for row, n in enumerate(members):
            results[n] = int(cost.cycles[row]), {name: values[row] for name, values in counters.items()}
    return [results[n] for n in range(len(rows))]


@functools.cache
def _technology():
    """Prices do not matter here."""
    return load_technology("asic-28nm")


def predict_cycles(rows: Sequence[Row]) -> list[int]:
    """Cycles of each row."""
    return [cycles for cycles, _ in evaluate_rows(rows)]


def _counters(cost: CostBatch, port_bytes) -> dict[str, torch.Tensor]:
    """Counters as tensors [N]."""
    counts = cost.counts
    named = {f"{level}_{x.name.lower()}_{access}": getattr(counts, f"{level}_{access}")[x]
             for level in ("rf", "gb") for access in ("reads", "writes") for x in Operand}
    fetched = torch.full_like(port_bytes, INSTRUCTION_BYTES)
    beats = {"dram_w_beats": counts.dram_reads[W] - fetched, "dram_i_beats": counts.dram_reads[I],
             "dram_r_beats": counts.dram_reads[O], "dram_p_beats": fetched, "dram_o_beats": counts.dram_writes[O]}
    return {"macs": counts.macs} | named | {name: size // port_bytes for name, size in beats.items()}


def design_rows(design: Design) -> dict[str, Row]:
    """Of each hardware layer, in network order."""
    chip = design.accelerator
    places = design.pipeline.layers
    return {name: (shape, chip.alone[places[name].chunk], design.mappings[name])
            for name, shape in hardware_shapes(design.network, chip.port_bytes)}


def design_times(design: Design, cycles: dict[str, int]) -> Schedule:
    """When each layer ends, from the cycles of each, for one image alone."""
    return design_schedule(design.pipeline.programs, cycles, design.accelerator)

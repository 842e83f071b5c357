"""Tilings by rule, without a search: a short list for each (layer, chip) pair, of which the best is taken.

The array is filled. A register-file tile grows dim by dim, in each of GROWTH's orders, as far as the words of the PE
allow; the DRAM level is split as SPLITS say; every loop order at the global buffer and at DRAM is tried. What is found
is a function of layer, chip and loop orders alone: no random number is in it.
"""

import itertools

import torch
from torch import Tensor

from dna_asic.cost import ChipBatch, LayerBatch, Prices
from dna_asic.mapping.candidates import MAX_RF_FACTOR, ORDER, RF, ROWS, complete
from dna_asic.mapping.tilings import Pairs, Score, Tilings, repeated
from dna_asic.spec.accelerator import LoopOrders, loop_order
from dna_asic.spec.dims import RELEVANT, Dim, Level, Operand
from dna_asic.spec.geometry import ceil_div

NOC, DRAM = Level.NOC, Level.DRAM
GROWTH = tuple(map(loop_order, ("S R C Q P K G", "Q P K S R C G", "K C S R Q P G", "C K Q P S R G", "S R K Q P C G",
                                "K Q P C S R G")))
SPLITS: tuple[dict[Dim, int], ...] = ({}, {Dim.P: 2}, {Dim.P: 8}, {Dim.K: 2, Dim.G: 2}, {Dim.K: 2, Dim.G: 2, Dim.P: 2},
                                      {Dim.K: 4, Dim.G: 4, Dim.P: 8})
_KEY = torch.tensor([pow(31, i, 2**61 - 1) for i in range(ROWS * len(Dim))])  # of a candidate, modulo 2^64
FULL = 64  # as many PEs along a dim as there are


def greedy_tilings(layers: LayerBatch, chips: ChipBatch, prices: Prices, score: Score, orders: LoopOrders) -> Tilings:
    """The best of the list for each of M pairs (row i of each); `survivors` [M, 1, 5, 7] is it alone."""
    rows = candidates(layers, chips, orders)
    rows, value, priced = Pairs(layers, chips, prices, score, orders).price(rows)
    best = value[0].argmin(dim=1)
    pair = torch.arange(len(rows))
    score_of, energy_pj, cycles = value[:, pair, best]
    return Tilings(survivors=rows[pair, best][:, None], score=score_of, energy_pj=energy_pj, evaluations=priced,
                   cycles=torch.where(cycles.isfinite(), cycles, -1).long())


def candidates(layers: LayerBatch, chips: ChipBatch, orders: LoopOrders) -> Tensor:
    """int64 [M, n, 5, 7]: the list, illegal ones among them; one that stands twice is illegal the second time."""
    array = _filled(layers, chips)
    grown = torch.cat([_grown(layers, chips, array, order) for order in GROWTH], dim=1)
    rest = list(itertools.product(SPLITS, range(len(orders.gb_order)), range(len(orders.dram_order))))
    rows = grown.repeat_interleave(len(rest), dim=1)
    tail = torch.ones((len(rest), 2, 7), dtype=torch.int64)
    for i, (split, gb, dram) in enumerate(rest):
        for dim, factor in split.items():
            tail[i, 0, dim] = factor
        tail[i, 1] = torch.tensor([0, gb, dram, 0, 0, 0, 0])
    rows[:, :, DRAM:] = tail.repeat(len(GROWTH), 1, 1)
    rows = complete(layers, chips, rows)
    rows[:, :, DRAM, Dim.R] = 1 + repeated((rows.flatten(2) * _KEY).sum(dim=2))  # kernels are never split at DRAM
    return rows


def _filled(layers, chips):
    """[M, 1, 5, 7]: one word of each operand per PE, all PEs in use that there is work for."""
    rows = torch.ones((len(layers), 1, ROWS, 7), dtype=torch.int64)
    rows[:, :, NOC] = FULL
    rows[:, :, ORDER] = 0
    return complete(layers, chips, rows)


def _grown(layers, chips, array, order):
    """[M, 1, 5, 7]: `array` with the largest register-file factors, those of the first of `order` first."""
    rows = array.clone()
    rf = rows[:, 0, RF]
    for dim in order:
        steps = ceil_div(layers.bound(dim), array[:, 0, NOC, dim])
        if dim in (Dim.P, Dim.R):
            steps = torch.where(chips.crossed, 1, steps)
        largest = torch.ones_like(steps)
        for factor in range(2, min(MAX_RF_FACTOR, int(steps.max())) + 1):
            rf[:, dim] = factor
            largest = torch.where((factor <= steps) & _fits(layers, chips, rf), factor, largest)
        rf[:, dim] = ceil_div(steps, ceil_div(steps, largest))  # the same steps with less padding
    return rows


def _fits(layers, chips, rf):
    """bool [M]: the tile fits the words of a PE."""
    box = {Dim.P: (rf[:, Dim.P] - 1) * layers.stride + rf[:, Dim.R],
           Dim.Q: (rf[:, Dim.Q] - 1) * layers.stride + rf[:, Dim.S]}
    words = {x: rf[:, [d for d in Dim if d in RELEVANT[x]]].prod(dim=1) for x in (Operand.W, Operand.O)}
    inputs = rf[:, Dim.G] * rf[:, Dim.C] * box[Dim.P] * box[Dim.Q]
    return ((words[Operand.W] <= chips.rf_w_words) & (inputs <= chips.rf_i_words)
            & (words[Operand.O] <= chips.rf_o_words))

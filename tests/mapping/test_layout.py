"""Physical channels: what the layouts of the kinds of tensors are, and what is refused."""

import numpy as np
import pytest

from dna_asic.errors import InfeasibleDesign
from dna_asic.mapping.layout import ChannelLayout, hardware_shapes, lay_out
from dna_asic.spec.layer import LayerSpec, NetworkSpec, PoolOp, PoolSpec
from dna_asic.spec.program import TensorLayout
from sim.all_kinds import all_kinds
from sim.integers import conv_shape


def network(*layers, channels=8):
    return NetworkSpec(name="n", input_shape=(channels, 4, 4), layers=layers)


def test_layout_grouped_pads_each_group():
    layout = ChannelLayout.grouped(6, 2, 8)
    assert layout.slots == (0, 1, 2, 8, 9, 10) and layout.physical == 16


def test_layout_shuffled_gathers_each_consumers_channels():
    layout = ChannelLayout.shuffled(8, 2, 8)  # out[j * 2 + i] = y[i * 4 + j]
    assert layout.physical == 32
    assert layout.slots == (0, 8, 1, 9, 16, 24, 17, 25)


def test_lay_out_all_kinds():
    shapes = dict(hardware_shapes(all_kinds().network, 8))
    assert (shapes["dense3"].k, shapes["dense3"].c) == (16, 3)
    assert (shapes["widen"].g, shapes["widen"].k) == (1, 32)  # 2 groups of 12, each padded to 16
    assert (shapes["grouped"].c, shapes["grouped"].k, shapes["grouped"].k_segments) == (16, 16, 2)
    assert shapes["depthwise3"].g == 32 and shapes["project"].has_residual
    assert shapes["fused-max"].pool_window == 2 and shapes["fused-max"].c == 32


def test_lay_out_residual_joins_layouts():
    layers = {x.spec.name: x for x in lay_out(all_kinds().network, 8)}
    assert layers["project"].output == layers["widen"].output


def test_lay_out_wrong_residual_with_pooling():
    pool = PoolSpec(op=PoolOp.MAX, window=2)
    spec = LayerSpec(name="a", shape=conv_shape(4, 4, k=8, c=8), source="input", residual="input", pool=pool)
    with pytest.raises(InfeasibleDesign, match="layer 'a' has a residual and fused pooling"):
        lay_out(network(spec), 8)


def test_lay_out_wrong_group_counts():
    layers = (LayerSpec(name="a", shape=conv_shape(4, 4, g=2, k=4, c=4), source="input"),
              LayerSpec(name="b", shape=conv_shape(4, 4, g=4, k=2, c=2), source="a"))
    with pytest.raises(InfeasibleDesign, match=r"tensor 'a' is read or written in \[2, 4\] groups"):
        lay_out(network(*layers), 8)


def test_lay_out_wrong_shuffle_of_a_dense_layer():
    spec = LayerSpec(name="a", shape=conv_shape(4, 4, k=8, c=8), source="input", shuffle_groups=2)
    with pytest.raises(InfeasibleDesign, match="only grouped layers may shuffle"):
        lay_out(network(spec), 8)


def test_tensor_pack_and_unpack():
    tensor = TensorLayout(name="t", base_select=0, address=0, blocks=2, height=2, width=3, port_bytes=8, pitch=0,
                          slots=(0, 1, 2, 8, 9, 10))
    values = np.arange(36, dtype=np.int8).reshape(6, 2, 3)
    data = tensor.pack(values)
    assert len(data) == tensor.size_bytes == 96
    assert data[8 + 2] == values[2, 0, 1] and data[48] == values[3, 0, 0] and data[3] == 0
    np.testing.assert_array_equal(tensor.unpack(data), values)

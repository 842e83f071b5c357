"""Stages, programs, waits and copies of networks on several chunks."""

import random
from pathlib import Path

import pytest
from chips import draw_design, make_chip, make_chips

from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.mapping.mapper import random_assignment
from dna_asic.spec.design import Design, design_from_yaml, design_to_yaml
from dna_asic.spec.layer import LayerSpec, NetworkSpec
from dna_asic.spec.pipeline import MAX_COPIES, Wait, pipeline
from sim.all_kinds import all_kinds
from sim.four_layers import four_layers
from sim.integers import conv_shape

SHAPE = conv_shape(2, 2, k=8, c=8)


def network(*layers):
    """Layers (name, source, residual) of one shape."""
    return NetworkSpec(name="small", input_shape=(8, 2, 2), layers=tuple(
        LayerSpec(name=name, shape=SHAPE, source=source, residual=residual) for name, source, residual in layers))


def test_pipeline_one_chunk_is_the_network_in_order():
    net = all_kinds().network
    places = pipeline(net, {}, 1)
    assert [p.name for p in places.programs[0]] == [layer.name for layer in net.layers]
    assert all(not p.waits and p.stage == 0 and p.copies == 1 for p in places.programs[0])


def test_pipeline_by_hand():
    net = network(("a", "input", None), ("b", "a", None), ("c", "b", "a"), ("d", "c", None))
    places = pipeline(net, {"a": 0, "b": 1, "c": 0, "d": 1}, 2).layers
    assert {n: (p.stage, p.position, p.copies) for n, p in places.items()} == {
        "a": (0, 0, 4), "b": (1, 0, 2), "c": (2, 1, 2), "d": (3, 1, 1)}
    # a overwrites what b (stage 1) read of the image 4 before
    assert places["a"].waits == (Wait(chunk=1, distance=3, position=1),)
    # b: for a of its image (distance 1), and for c of the image 2 before (distance 1 + 2 - 2), later in the pass
    assert places["b"].waits == (Wait(chunk=0, distance=1, position=2),)
    # c: for b of its image (distance 1), and for d of the image 2 before (distance 2 + 2 - 3), later in the pass
    assert places["c"].waits == (Wait(chunk=1, distance=1, position=2),)
    assert places["d"].waits == (Wait(chunk=0, distance=1, position=2),)


def test_pipeline_sorts_a_program_by_stage():
    net = network(("a", "input", None), ("b", "a", None), ("c", "b", None), ("d", "input", None), ("e", "c", "d"))
    places = pipeline(net, {"a": 0, "b": 1, "c": 0, "d": 0, "e": 1}, 2)
    assert [p.name for p in places.programs[0]] == ["a", "d", "c"]
    assert [p.stage for p in places.programs[0]] == [0, 0, 2]


@pytest.mark.parametrize("seed", range(20))
def test_pipeline_is_sound(seed):
    """By the definition: whoever reads or overwrites a tensor comes after those it must come after."""
    rng = random.Random(seed)
    net, chunks = all_kinds().network, 2 + seed % 3
    places = pipeline(net, random_assignment(net, chunks, rng), chunks).layers
    for layer in net.layers:
        for made in (layer.source, layer.residual):
            if made in places:
                assert_after(places[layer.name], places[made], 0)
                assert_after(places[made], places[layer.name], places[made].copies)
    assert all(1 <= w.distance <= MAX_COPIES for p in places.values() for w in p.waits)


def assert_after(late, early, images):
    """`late`, on an image, begins after `early` has worked on the image that is `images` before."""
    distance = late.stage + images - early.stage  # in iterations
    if late.chunk == early.chunk:
        assert distance > 0 or distance == 0 and late.position > early.position
        return
    wait, = (w for w in late.waits if w.chunk == early.chunk)
    assert (-wait.distance, wait.position) >= (-distance, early.position + 1)


def test_pipeline_wrong_many_copies():
    chain = [("x0", "input", None), *((f"x{n}", f"x{n - 1}", None) for n in range(1, 9)), ("end", "x8", "x0")]
    with pytest.raises(InfeasibleDesign, match="tensor 'x0' is read 9 stages after it is made and needs 16 copies"):
        pipeline(network(*chain), {name: n % 2 for n, (name, *_) in enumerate(chain)}, 2)


def test_pipeline_wrong_assignment():
    net = network(("a", "input", None), ("b", "a", None))
    with pytest.raises(SpecError) as error:
        pipeline(net, {"a": 2, "c": 0}, 2)
    assert str(error.value).splitlines() == [
        "Assignment: no chunk for layer b; name one of 0..1.", "Assignment: the network has no layer c; remove it.",
        "Assignment: chunk of layer 'a' must be in 0..1, not 2."]


def test_accelerator_wrong_chunks():
    with pytest.raises(InfeasibleDesign, match="chunks must be 1 to 4, not 5"):
        make_chips(*["kc-tree-1x1"] * 5)
    with pytest.raises(SpecError, match="has 2 chunks where one is asked for"):
        make_chips("kc-tree-1x1", "kc-tree-1x1").chunk  # noqa: B018


def design(names, assignment):
    chip, quant = make_chips(*names), four_layers()
    _, mappings = draw_design(chip, quant.network, random.Random(0))
    return Design(target="asic-28nm", seed=0, choices=(), network=quant.network, accelerator=chip, mappings=mappings,
                  assignment=assignment)


def test_design_keeps_its_assignment(tmp_path: Path):
    wanted = {"conv": 0, "depthwise": 1, "pointwise": 0, "classifier": 1}
    written = design(("kc-tree-4x4", "pq-3x2"), wanted)
    path = tmp_path / "design.yaml"
    path.write_text(design_to_yaml(written))
    assert "assignment: {conv: 0, depthwise: 1, pointwise: 0, classifier: 1}" in path.read_text()
    assert design_from_yaml(path) == written
    assert [p.name for p in written.pipeline.programs[1]] == ["depthwise", "classifier"]


def test_design_wrong_assignment():
    with pytest.raises(SpecError, match="no chunk for layer depthwise, pointwise, classifier"):
        design(("kc-tree-4x4", "pq-3x2"), {"conv": 0})
    assert make_chip("pq-3x2").alone == (make_chip("pq-3x2"),)

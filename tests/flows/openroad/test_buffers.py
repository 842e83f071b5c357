"""Buffer trees: loads within limits, across modules."""

import dataclasses

import pytest

from dna_asic.technology import load_technology
from flows.openroad.abstracts import Input, liberty_inputs, liberty_strengths
from flows.openroad.buffers import LEAF_LOADS, ROOT_LOADS, with_buffers
from flows.openroad.netlist import Netlist, bits, children_first
from flows.openroad.platforms import predictive_platform
from flows.openroad.predictive import liberty
from flows.openroad.predictive.model import Model

PLATFORM = predictive_platform(load_technology("asic-28nm"))
LIBERTY = liberty.liberty_text(Model(load_technology("asic-28nm")), "x", "x")
STRENGTHS = liberty_strengths(LIBERTY)
CELL = """\
  INV_X1 u{n} (
    .A({net}),
    .ZN(\\y[{n}] )
  );
  DFF_X1 r{n} (
    .CK(clk),
    .D({net}),
    .Q(q{n})
  );
"""


@pytest.fixture(scope="module")
def inputs():
    """Of the predictive library's cells."""
    return liberty_inputs(LIBERTY)


def module(count, name="m", net="a"):
    body = "".join(CELL.format(n=n, net=net) for n in range(count))
    return Netlist.of(f"module {name}(a, clk);\n  input a ;\n  input clk ;\n{body}endmodule\n")


def loads(text, inputs):
    """{net: load} of a buffered module, the clock apart."""
    found = {}
    for instance in Netlist.of(text).instances:
        for pin, nets in instance.pins.items():
            for k, net in enumerate(reversed(nets)):
                if (pin, k) in inputs[instance.kind] and net != "clk ":
                    found[net] = found.get(net, 0.0) + inputs[instance.kind][pin, k].capacitance
    return found


@pytest.mark.parametrize("count", [1, 7, 40, 700])
def test_no_net_carries_more_than_its_limit(count, inputs):
    done = with_buffers(module(count), inputs, STRENGTHS, PLATFORM)
    unit = inputs[PLATFORM.driver][PLATFORM.buffer[2], 0].capacitance
    found = loads(done.text, inputs)
    assert found["a "] <= ROOT_LOADS * unit and max(found.values()) <= 1.2 * LEAF_LOADS * unit
    assert done.inputs["a", 0] == Input(found["a "]) and done.inputs["clk", 0].clock
    assert done.text.count("BUF_X4") == done.buffers and (done.buffers == 0) == (count == 1)
    sinks = [i for i in Netlist.of(done.text).instances if i.kind != "BUF_X4"]
    assert len(sinks) == 2 * count and {i.pins["CK"][0] for i in sinks if i.kind == "DFF_X1"} == {"clk "}


def test_loads_of_modules_below_count(inputs):
    leaf = with_buffers(module(3, "leaf"), inputs, STRENGTHS, PLATFORM)
    body = "".join(f"  leaf \\i[{n}]  (\n    .a(a),\n    .clk(clk)\n  );\n" for n in range(30))
    top = Netlist.of(f"module top(a, clk);\n  input a ;\n  input clk ;\n{body}endmodule\n")
    assert list(children_first({"top": top, "leaf": module(3, "leaf")})) == ["leaf", "top"]
    done = with_buffers(top, inputs | {"leaf": leaf.inputs}, STRENGTHS, PLATFORM)
    assert done.buffers > 2 and "\\i[7]  (" in done.text
    found = loads(done.text, inputs | {"leaf": leaf.inputs})
    assert max(found.values()) <= 1.2 * LEAF_LOADS * inputs["BUF_X4"]["A", 0].capacitance


def test_constants_have_no_trees(inputs):
    plain = module(50, net="one")
    text = plain.text.replace("endmodule", "  TIEHI_X1 t (\n    .Z(one)\n  );\nendmodule")
    assert with_buffers(Netlist.of(text), inputs, STRENGTHS, PLATFORM).buffers == 0
    assert with_buffers(Netlist.of(text), inputs, STRENGTHS, dataclasses.replace(PLATFORM, ties=())).buffers > 0


def test_bits_of_expressions():
    assert bits("{ w, 2'b10, a[1:0] }", {"w": None, "a": (3, 0)}) == ["w ", "1'b1", "1'b0", "a [1]", "a [0]"]


@pytest.mark.parametrize(("driver", "buffered"), [("BUF_X1", True), ("BUF_X4", False)])
def test_a_strong_driver_carries_what_a_buffer_may(driver, buffered, inputs):
    text = module(10).text.replace("endmodule", f"  {driver} d (\n    .A(b),\n    .Z(a)\n  );\nendmodule")
    done = with_buffers(Netlist.of(text), inputs, STRENGTHS, PLATFORM)
    assert loads(done.text, inputs)["a "] <= LEAF_LOADS * inputs["BUF_X4"]["A", 0].capacitance
    assert (done.buffers > 0) == buffered

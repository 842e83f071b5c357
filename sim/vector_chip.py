"""The chip behind vectors: what joins its memory ports, however many they are, to one Verilog bench."""

from dna_asic.spec.accelerator import AcceleratorConfig
from rtl_gen.control import COUNTERS
from rtl_gen.top import port_prefixes
from sim.steps import steps_verilog

EVENTS = COUNTERS[1:-1]  # all but cycles and layers

_LITE = """
    .s_axil_awaddr(address), .s_axil_awprot(3'd0), .s_axil_awvalid(awvalid_lite), .s_axil_awready(awready_lite),
    .s_axil_wdata(wdata_lite), .s_axil_wstrb(4'hF), .s_axil_wvalid(awvalid_lite), .s_axil_bvalid(bvalid_lite),
    .s_axil_bready(1'b1), .s_axil_araddr(address), .s_axil_arprot(3'd0), .s_axil_arvalid(arvalid_lite),
    .s_axil_arready(arready_lite), .s_axil_rdata(rdata_lite), .s_axil_rvalid(rvalid_lite), .s_axil_rready(1'b1)"""


def vector_chip(accelerator: AcceleratorConfig, steps: bool = False, gates: bool = False) -> str:
    """Verilog of module `vector_chip`: `chip` with field n of every vector for the memory port of chunk n, and a task
    that writes the counters of EVENTS of one chunk, a space before each. steps: it also writes the
    steps of `sim.steps`. gates: the chip is a netlist, in which no counter has its name: 0 stands for each.
    """
    prefixes, port = port_prefixes(len(accelerator.chunks)), accelerator.port_bytes
    outputs = {"arvalid": 1, "araddr": 32, "arlen": 8, "rready": 1, "awvalid": 1, "awaddr": 32, "awlen": 8, "wvalid": 1,
               "wdata": 8 * port, "wstrb": port, "wlast": 1, "bready": 1}
    inputs = {"arready": 1, "rvalid": 1, "rdata": 8 * port, "rresp": 2, "rlast": 1, "awready": 1, "wready": 1,
              "bvalid": 1, "bresp": 2}
    vectors = [f"    {way} [{bits * len(prefixes) - 1}:0] {name}"
               for way, signals in (("output", outputs), ("input", inputs)) for name, bits in signals.items()]
    fields = [f"    .{prefix}{name}({name}[{bits * n} +: {bits}])"
              for n, prefix in enumerate(prefixes) for name, bits in (outputs | inputs).items()]
    fields += [f"    .{prefix}{name}(1'b0)" for prefix in prefixes for name in ("rid", "bid")]
    return "\n".join([
        "module vector_chip (",
        "    input clk, input rst, input awvalid_lite, output awready_lite, output bvalid_lite, input arvalid_lite,",
        "    output arready_lite, output rvalid_lite, input [11:0] address, input [31:0] wdata_lite,",
        f"    output [31:0] rdata_lite, output irq, output [{len(prefixes) - 1}:0] layer_done,",
        ",\n".join(vectors), ");", "chip chip (", "    .clk(clk), .rst(rst), .irq(irq), .layer_done(layer_done),"
        + _LITE + ",", ",\n".join(fields), ");", *_counter_task(len(prefixes), gates),
        steps_verilog(len(prefixes)) if steps else "", "endmodule", ""])


def _counter_task(chunks, gates):
    yield "task write_counters(input integer file, input integer chunk);"
    yield "    case (chunk)"
    for n in range(chunks):
        counters = ",\n        ".join("0" if gates else f"chip.chunk_{n}.control.count_{name}" for name in EVENTS)
        yield f'    {n}: $fwrite(file, "{" %0d" * len(EVENTS)}",\n        {counters});'
    yield "    endcase"
    yield "endtask"

"""Steps of the Verilog's sequencers: what writes them in a bench, and how they are read."""

from pathlib import Path

from dna_asic.spec.trace import BEGIN, END, Step

_PORTS = {"array": "WIO", "dram": ("read", "write")}
_FILE = """
integer steps;
initial steps = $fopen("steps.txt", "w");
"""
# Of a chunk: ports that are busy when computing is over, and at a boundary those of them that it waits for.
_CHUNK = """
reg [2:0] array_busy_{n} = 0;
reg [1:0] tiles_busy_{n} = 0;
wire array_last_{n} = chip.chunk_{n}.core.sequencer.gb.last;
wire tiles_last_{n} = chip.chunk_{n}.tiles.tile.last;
wire [2:0] array_flips_{n} = {{chip.chunk_{n}.core.sequencer.flip_w, chip.chunk_{n}.core.sequencer.flip_i,
                              chip.chunk_{n}.core.sequencer.flip_o}};
wire [2:0] tiles_flips_{n} = {{chip.chunk_{n}.tiles.flip_w, chip.chunk_{n}.tiles.flip_i, chip.chunk_{n}.tiles.flip_o}};
wire read_flips_{n} = |tiles_flips_{n}[2:1] | chip.chunk_{n}.tiles.start_residual | tiles_last_{n};
wire write_flips_{n} = tiles_flips_{n}[0] | tiles_last_{n};
always @(posedge clk) begin
    if (chip.chunk_{n}.core.sequencer.issue && chip.chunk_{n}.core.sequencer.rf.last)
        array_busy_{n} = ~{{chip.chunk_{n}.core.sequencer.w_idle, chip.chunk_{n}.core.sequencer.i_idle,
                           chip.chunk_{n}.core.sequencer.o_idle}};
    if (chip.chunk_{n}.core.sequencer.\\begin )
        $fdisplay(steps, "{n} array begin %b 0 %0d", array_flips_{n}, tb_chip.cycles);
    if (chip.chunk_{n}.core.sequencer.advance)
        $fdisplay(steps, "{n} array %0s %b %b %0d", array_last_{n} ? "over" : "next",
                  array_last_{n} ? 3'b001 : array_flips_{n}, array_busy_{n} & array_flips_{n}, tb_chip.cycles);
    if (chip.chunk_{n}.core.sequencer.finish) $fdisplay(steps, "{n} array end 0 0 %0d", tb_chip.cycles);
    if (chip.chunk_{n}.tiles.core_done)
        tiles_busy_{n} = ~{{chip.chunk_{n}.tiles.read_idle, chip.chunk_{n}.tiles.write_idle}};
    if (chip.chunk_{n}.tiles.\\begin )
        $fdisplay(steps, "{n} dram begin %b 0 %0d", tiles_flips_{n}, tb_chip.cycles);
    if (chip.chunk_{n}.tiles.advance)
        $fdisplay(steps, "{n} dram %0s %b %b %0d", tiles_last_{n} ? "over" : "next", tiles_flips_{n},
                  tiles_busy_{n} & {{read_flips_{n}, write_flips_{n}}}, tb_chip.cycles);
    if (chip.chunk_{n}.tiles.finish) $fdisplay(steps, "{n} dram end 0 0 %0d", tb_chip.cycles);
end
"""


def steps_verilog(chunks: int) -> str:
    """For a module with the instance `chip`: every boundary adds a line to steps.txt: chunk, level, event, flips of W,
    I, O and ports waited for (a bit each), cycles since the start of the run.
    """
    return _FILE + "".join(_CHUNK.format(n=n) for n in range(chunks))


def read_steps(path: Path, chunk: int) -> list[list[Step]]:
    """Steps of each layer that a chunk began, in the order of time; the cycles from the end of the layer before."""
    layers, layer, start, tile, number = [], [], 0, {}, {}
    for line in path.read_text().splitlines():
        owner, level, event, flips, waited, cycle = line.split()
        if int(owner) != chunk:
            continue
        if event == BEGIN:
            tile[level], number[level] = (tile["dram"] if level == "array" else 0), 0
        elif event != END:
            number[level] += 1
            tile["dram"] += level == "dram"
        array = level == "array"
        layer.append(Step(
            cycle=int(cycle) - start, level=level, tile=tile[level], step=number[level] if array else 0, event=event,
            flips="".join(x for x, bit in zip("WIO", flips) if bit == "1"),
            waited="+".join(x for x, bit in zip(_PORTS[level], waited) if bit == "1")))
        if level == "dram" and event == END:
            layers.append(layer)
            layer, start = [], int(cycle)
    return layers + [layer] if layer else layers

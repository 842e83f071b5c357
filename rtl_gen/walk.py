"""Walk over a box of a blocked tensor in memory, beat by beat: columns, rows, blocks."""

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

COLUMN_BITS, ROW_BITS, BLOCK_BITS = 20, 14, 14
MAX_BURST = 256  # beats, AXI4
PAGE_BYTES = 4096  # no AXI burst crosses it


def is_inside(place, count):
    """Whether a coordinate lies in a tensor."""
    return ((place >= 0) & (place < count)) if place.shape().signed else place < count


def first_place(**box) -> dict:
    """Parameters of a walk together with those that say of its first place whether it is inside, by dimension, and how
    many columns of the tensor follow it: known before a walk is chosen, they cost the choice no time.
    """
    inside = {f"{n}_inside_0": is_inside(box[f"{n}_0"], box[f"{n}_count"]) for n in ("column", "row", "block")}
    return box | inside | {"columns_0": box["column_count"] - 1 - box["column_0"]}


class TileWalk(wiring.Component):
    """Beats of the box [block][row][column] that begins at (block_0, row_0, column_0) of a tensor.

    `load` takes the parameters (they must stay until the walk ends); from the next cycle each `step` moves on one
    beat. `first_place` makes the parameters that follow from others. active: beats are left. real: the beat lies
    inside the tensor. address: its byte address (wraps mod 2**32). run_last: real beats that follow in one AXI burst
    (same row, same 4 KiB page, at most 256 in all). block_end, last: last beat of a block, of the walk.
    """

    def __init__(self, port_bytes: int):
        self.port_bytes = port_bytes
        ports = {"load": In(1), "step": In(1), "address_0": In(32), "row_pitch": In(24), "block_pitch": In(32),
                 "active": Out(1), "real": Out(1), "address": Out(32), "run_last": Out(8), "block_end": Out(1),
                 "last": Out(1), "index": Out(COLUMN_BITS), "columns_0": In(COLUMN_BITS + 2)}
        for name, bits in (("column", COLUMN_BITS), ("row", ROW_BITS), ("block", BLOCK_BITS)):
            ports |= {f"{name}_last": In(bits), f"{name}_0": In(signed(bits + 1)), f"{name}_count": In(bits),
                      f"{name}_inside_0": In(1)}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        index, place, ends, inside = {}, {}, {}, {}  # the last two are registers too: much hangs on them
        for name, bits in (("column", COLUMN_BITS), ("row", ROW_BITS), ("block", BLOCK_BITS)):
            index[name] = Signal(bits, name=f"{name}_index")
            place[name] = Signal(signed(bits + 2), name=f"{name}_place")  # coordinate in the tensor
            ends[name], inside[name] = Signal(name=f"{name}_ends"), Signal(name=f"{name}_inside")
        row_address, block_address = Signal(32), Signal(32)
        m.d.comb += [self.real.eq(inside["column"] & inside["row"] & inside["block"]), self.index.eq(index["column"]),
                     self.block_end.eq(ends["column"] & ends["row"]), self.last.eq(self.block_end & ends["block"])]

        def move(name, to, at, within):
            return [index[name].eq(to), place[name].eq(at), ends[name].eq(to == getattr(self, f"{name}_last")),
                    inside[name].eq(within)]

        def restart(name):
            return move(name, Const(0), getattr(self, f"{name}_0"), getattr(self, f"{name}_inside_0"))

        def advance(name):
            to, at = (index[name] + 1)[:len(index[name])], place[name] + 1
            return move(name, to, at, is_inside(at, getattr(self, f"{name}_count")))

        in_box, in_tensor = Signal(COLUMN_BITS), Signal(COLUMN_BITS + 2)  # columns that follow
        with m.If(self.load | (self.step & ends["column"])):
            m.d.sync += [in_box.eq(self.column_last), in_tensor.eq(self.columns_0)]
        with m.Elif(self.step):
            m.d.sync += [in_box.eq(in_box - 1), in_tensor.eq(in_tensor - 1)]
        with m.If(self.load):
            m.d.sync += [*restart("column"), *restart("row"), *restart("block"), self.active.eq(1),
                         *(a.eq(self.address_0) for a in (self.address, row_address, block_address))]
        with m.Elif(self.step):
            with m.If(~ends["column"]):
                m.d.sync += [*advance("column"), self.address.eq(self.address + self.port_bytes)]
            with m.Elif(~ends["row"]):
                following = (row_address + self.row_pitch)[:32]
                m.d.sync += [*restart("column"), *advance("row"), self.address.eq(following), row_address.eq(following)]
            with m.Elif(~ends["block"]):
                following = (block_address + self.block_pitch)[:32]
                m.d.sync += [*restart("column"), *restart("row"), *advance("block"),
                             *(a.eq(following) for a in (self.address, row_address, block_address))]
            with m.Else():
                m.d.sync += self.active.eq(0)
        self._run(m, in_box, in_tensor)
        return m

    def _run(self, m, in_box, in_tensor):
        """Beats that may follow in the burst that begins here: the least of three limits."""
        in_page = ~self.address[(self.port_bytes - 1).bit_length():12]  # beats of the page after this one
        in_row = Signal(COLUMN_BITS)
        limit = min(MAX_BURST - 1, PAGE_BYTES // self.port_bytes - 1)
        m.d.comb += [in_row.eq(Mux(in_box < in_tensor, in_box, in_tensor)),
                     self.run_last.eq(Mux(in_row < in_page, Mux(in_row < limit, in_row, limit),
                                          Mux(in_page < limit, in_page, limit)))]

"""A loop nest as an odometer with address registers."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out


class Nest(wiring.Component):
    """Odometer over `loops` loops, innermost first; `addresses` maps a name to (register bits, jump bits).

    `load` sets every index to 0 and every address to its `<name>_start`; `step` moves on (and, from the last
    iteration, back to the start). All outputs are registers or functions of registers, valid the cycle after
    `load` or `step`; one step a cycle. `load` wins over `step`.

    last_index: last index of each loop. `<name>_jump`: signed jump of each class. ignore_below: loops under this
    number stay at 0. index: the loops' indices. `<name>`: the address. `class_`: number of the loop that the next
    step increments, `loops` when there is none. last: this is the last iteration.
    """

    def __init__(self, loops: int, index_bits: int, addresses: dict[str, tuple[int, int]]):
        self.loops = loops
        self.index_bits = index_bits
        self.addresses = dict(addresses)
        ports = {
            "load": In(1),
            "step": In(1),
            "last_index": In(data.ArrayLayout(unsigned(index_bits), loops)),
            "ignore_below": In(range(loops + 1)),
            "index": Out(data.ArrayLayout(unsigned(index_bits), loops)),
            "class_": Out(range(loops + 1)),
            "last": Out(1),
        }
        for name, (bits, jump_bits) in self.addresses.items():
            ports[name] = Out(bits)
            ports[f"{name}_start"] = In(bits)
            ports[f"{name}_jump"] = In(data.ArrayLayout(signed(jump_bits), loops))
        super().__init__(ports)

    def jump(self, name: str):
        """Jump input of the address `name`: one signed value per class."""
        return getattr(self, f"{name}_jump")

    def elaborate(self, platform):
        m = Module()
        movable, moves, lower_done = [], [], []  # per loop: can increment; increments; no lower loop increments
        for i in range(self.loops):
            movable.append((self.index[i] != self.last_index[i]) & (self.ignore_below <= i))
            lower_done.append(Signal(name=f"lower_done_{i}"))
            m.d.comb += lower_done[i].eq(~Cat(movable[:i]).any() if i else 1)
            moves.append(Signal(name=f"moves_{i}"))
            m.d.comb += moves[i].eq(movable[i] & lower_done[i])
        m.d.comb += [self.class_.eq(self.loops), self.last.eq(~Cat(movable).any())]
        for i in range(self.loops):
            with m.If(moves[i]):
                m.d.comb += self.class_.eq(i)
        restart = Signal()
        m.d.comb += restart.eq(self.load | (self.step & self.last))
        for i in range(self.loops):
            with m.If(restart):
                m.d.sync += self.index[i].eq(0)
            with m.Elif(self.step & lower_done[i]):
                m.d.sync += self.index[i].eq(Mux(moves[i], self.index[i] + 1, 0))
        for name, (bits, _) in self.addresses.items():
            address, jump = getattr(self, name), Signal(signed(bits + 1), name=f"{name}_jump_taken")
            for i in range(self.loops):
                with m.If(moves[i]):
                    m.d.comb += jump.eq(self.jump(name)[i])
            with m.If(restart):
                m.d.sync += address.eq(getattr(self, f"{name}_start"))
            with m.Elif(self.step):
                m.d.sync += address.eq(address + jump)
        return m

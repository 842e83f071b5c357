"""Buffer trees on nets with many loads, across modules: what placement would build, before there is a placement.

ABC sees one module at a time and nothing of what a net drives outside its logic. Here each module, children first, gets
trees where the pins on a net, those of the modules below included, weigh more than a driver should carry. Clocks and
constants are left alone: a clock tree is placement's work.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from flows.openroad.abstracts import Input
from flows.openroad.netlist import Instance, Netlist
from flows.openroad.platforms import Platform

# In inputs of the tree's buffer: what any driver may carry, and what a buffer or a driver as strong as one may.
ROOT_LOADS, LEAF_LOADS = 5, 16


@dataclass(frozen=True)
class Buffered:
    """A module's text with its trees, and the number of buffers in them. inputs: of each bit of its ports what a driver
    outside sees: capacitance, and whether it is a clock.
    """

    text: str
    buffers: int
    inputs: dict[tuple[str, int], Input]


@dataclass
class _Sink:
    """A pin's bit on a net, or an input of a tree's buffer (`place` None)."""

    place: tuple[int, str, int] | None
    load: float
    buffer: int = -1


def with_buffers(module: Netlist, inputs: dict[str, dict[tuple[str, int], Input]], strengths: dict[str, float],
                 platform: Platform) -> Buffered:
    """`inputs`: of every cell and module in it, by pin and bit (0 is the least significant). strengths: of each cell
    the capacitance that it may drive.
    """
    cell, output, pin = platform.driver, *platform.buffer[1:]
    unit, ties = inputs[cell][pin, 0].capacitance, [name for name, _ in platform.ties]
    same = _Aliases(module.aliases)
    sinks, limits, kept = {}, {}, set()  # limits: in inputs of the buffer; kept: clocks and constants
    for n, instance in enumerate(module.instances):
        for name, nets in instance.pins.items():
            for k, net in enumerate(reversed(nets)):
                root, found = same.root(net), inputs[instance.kind].get((name, k))
                if found is None or found.clock:
                    kept |= {root} if found or instance.kind in ties else set()
                    if found is None and instance.kind in strengths:
                        limits[root] = LEAF_LOADS * min(1.0, strengths[instance.kind] / strengths[cell])
                if found is not None:
                    sinks.setdefault(root, []).append(_Sink((n, name, k), found.capacitance))
    trees = _Trees(unit)
    for root, on_net in sinks.items():
        if root not in kept and not root.startswith("1'b"):
            on_net[:] = trees.grown(on_net, root, max(ROOT_LOADS, limits.get(root, 0.0)))
    seen = {(name.removeprefix("\\"), k): Input(sum(s.load for s in sinks.get(same.root(net), ())),
                                                clock=same.root(net) in kept)
            for name, way in module.ports.items() if way == "input"
            for k, net in enumerate(reversed(module.port_bits(name)))}
    form = f"  {cell} {{}} (\n    .{pin}({{}}),\n    .{output}({{}})\n  );\n"
    return Buffered(_rewritten(module, trees, form), len(trees.buffers), seen)


class _Aliases:
    """Nets that `assign` makes one."""

    def __init__(self, pairs):
        self.driver = dict(pairs)

    def root(self, net):
        while net in self.driver:
            net = self.driver[net]
        return net


class _Trees:
    """The buffers of a module: each has the net that drives it, and drives net `fanout_<n>_`."""

    def __init__(self, unit: float):
        self.unit = unit
        self.buffers: list[str] = []
        self.moved: dict[tuple[int, str, int], int] = {}

    def grown(self, sinks: list[_Sink], root: str, limit: float) -> list[_Sink]:
        """What stays on the net itself, which carries `limit` loads."""
        while sum(s.load for s in sinks) > limit * self.unit and len(sinks) > 1:
            sinks = [self._buffer(group, root) for group in self._groups(sinks)]
        return sinks

    def _groups(self, sinks) -> Iterator[list[_Sink]]:
        """Neighbours together, evenly filled."""
        total = sum(s.load for s in sinks)
        count = max(1, round(total / (LEAF_LOADS * self.unit) + 0.49))
        group, load = [], 0.0
        for sink in sinks:
            if group and load + sink.load / 2 > total / count:
                yield group
                group, load = [], 0.0
            group.append(sink)
            load += sink.load
        yield group

    def _buffer(self, group, root):
        number = len(self.buffers)
        self.buffers.append(root)
        for sink in group:
            if sink.place is None:
                self.buffers[sink.buffer] = f"fanout_{number}_ "
            else:
                self.moved[sink.place] = number
        return _Sink(None, self.unit, number)


def _rewritten(module, trees, form):
    """The text with moved pins and the buffers."""
    if not trees.buffers:
        return module.text
    changed = {}
    for (n, name, k), number in trees.moved.items():
        changed.setdefault(n, {}).setdefault(name, {})[k] = f"fanout_{number}_ "
    parts, at = [], 0
    for n, new in sorted(changed.items()):
        instance = module.instances[n]
        head = module.text[instance.span[0]:].partition("\n")[0]
        parts += [module.text[at:instance.span[0]], head, _pins_text(instance, new)]
        at = instance.span[1]
    body, end = module.text[at:].rsplit("endmodule", 1)
    added = "".join(f"  wire fanout_{n}_ ;\n" + form.format(f"fanout_buffer_{n}_", source, f"fanout_{n}_ ")
                    for n, source in enumerate(trees.buffers))
    return "".join([*parts, body, added, "endmodule", end])


def _pins_text(instance: Instance, new):
    pins = []
    for name, nets in instance.pins.items():
        nets = [new.get(name, {}).get(len(nets) - 1 - k, net) for k, net in enumerate(nets)]
        joined = nets[0] if len(nets) == 1 else "{ " + ", ".join(nets) + " }"
        pins.append(f"\n    .\\{name} ({joined})")  # a plain name may be a keyword
    return ",".join(pins) + "\n  );"

"""Components that become one Verilog module each, however often they are instantiated.

Amaranth writes a module per instance. A `Unit` elaborated with a `ModuleSet` as platform becomes an instance of the
module named `module_name`, and the set remembers it; elaborated without (simulation) it is the plain component.
"""

from amaranth.back import verilog
from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

from dna_asic.errors import ToolError

_DIRECTION = {wiring.In: PortDirection.Input, wiring.Out: PortDirection.Output}


class ModuleSet:
    """Platform that collects the units met while elaborating; `render` gives all modules as Verilog."""

    def __init__(self):
        self.units = {}

    def add(self, unit):
        """Remember `unit` under its module name."""
        self.units.setdefault(unit.module_name, unit)

    def render(self, top, name: str) -> str:
        """Verilog of `top` (module `name`) and of every unit in it, each once, sorted by name after the top."""
        texts, done = {name: convert(top, name, self)}, set()
        while pending := set(self.units) - done:
            for module_name in sorted(pending):
                texts[module_name] = self.units[module_name].verilog(self)
                done.add(module_name)
        return "\n".join([texts.pop(name), *(texts[n] for n in sorted(texts))])


def convert(component, name: str, platform=None, contents=None) -> str:
    """Verilog of `component` as module `name`; `contents` stands for what its `elaborate` would give.

    Raises ToolError where Yosys fails.
    """
    ports = {"__".join(map(str, path)): (Value.cast(value), _DIRECTION[member.flow])
             for path, member, value in component.signature.flatten(component)}
    try:
        return verilog.convert(contents or component, name=name, platform=platform, ports=ports, emit_src=False,
                               strip_internal_attrs=True)
    except verilog.YosysError as error:
        raise ToolError(f"Yosys of Amaranth failed at module '{name}': {str(error).splitlines()[-1]}; its scratch "
                        f"files need room in the folder for temporary files.") from error


class Unit(wiring.Component):
    """A component with a `module_name` that fixes its contents, a method `body`, and flat ports only."""

    module_name: str

    def body(self) -> Module:
        """The contents."""
        raise NotImplementedError

    def verilog(self, modules: ModuleSet) -> str:
        """Text of this module; units inside it are added to `modules`."""
        return convert(self, self.module_name, modules, self.body())

    def elaborate(self, platform):
        if not isinstance(platform, ModuleSet):
            return self.body()
        platform.add(self)
        ports = {("i_" if member.flow is wiring.In else "o_") + name: Value.cast(getattr(self, name))
                 for name, member in self.signature.members.items()}
        return Instance(self.module_name, i_clk=ClockSignal(), i_rst=ResetSignal(), **ports)

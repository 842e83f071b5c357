"""The run controller of a chunk: its program over and over, with waits for the other chunks; and its counters."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dna_asic.spec.instruction import INSTRUCTION_BYTES, OPCODE_LAYER
from rtl_gen.fields import WIDTHS, layout_of
from rtl_gen.registers import ERROR_BITS, ERRORS, PAGE_BITS, PAGED, REGISTERS, write_bytes

COUNTER_BITS = 48
COUNTERS = ("cycles", "macs", "rf_w_reads", "rf_i_reads", "rf_o_reads", "rf_w_writes", "rf_i_writes", "rf_o_writes",
            "gb_w_reads", "gb_i_reads", "gb_o_reads", "gb_w_writes", "gb_i_writes", "gb_o_writes", "dram_w_beats",
            "dram_i_beats", "dram_r_beats", "dram_p_beats", "dram_o_beats", "layer")
COUNTERS_AT = 0x40
POSITION_BITS, STAGE_BITS = WIDTHS["wait_position_0"], WIDTHS["stage"]
ITERATION_BITS = 32


def link_ports(number: int, chunks: int) -> dict:
    """Ports of a run controller towards the registers (`write_*`, `read_word` and `data`: its page) and the others."""
    ports = {
        "begin": In(1), "halt": In(1), "abort": In(1), "input": In(32), "output": In(32), "images": In(32),
        "input_pitch": In(32), "output_pitch": In(32), "timeout": In(32),
        "write": In(1), "write_word": In(PAGE_BITS - 2), "write_data": In(32), "write_strobes": In(4),
        "read_word": In(PAGE_BITS - 2), "data": Out(32), "running": Out(1), "fault": Out(ERROR_BITS),
        "program": Out(32), "iteration": Out(ITERATION_BITS), "position": Out(POSITION_BITS),
    }
    for n in range(chunks):
        if n != number:
            ports |= {f"other_running_{n}": In(1), f"other_iteration_{n}": In(ITERATION_BITS),
                      f"other_position_{n}": In(POSITION_BITS)}
    return ports


class Control(wiring.Component):
    """Runs the program of chunk `number` of `chunks` for all images, by the rules of `spec.pipeline`.

    Pages' registers are taken at `begin`; LENGTH 0 is no program. Each pass goes through the program from the first
    layer that still has an image: fetch, decode (a cycle, and one for each stage by which the image falls), then skip
    the layer, end the pass, or run the layer as soon as its waits allow. It is over (`running` falls) after the last
    layer of the last image. `fault` holds the first error until `halt`; the controller stands still with it.

    image: of the layer that runs; input_at, output_at: where the network's tensors of that image lie. iteration,
    position: what it has come to, for the others (`other_*`, in the order of the chunks, this one left out). Counter
    increments are added while `running`, and stay readable until the next `begin`: `data` is the word `read_word` of
    this chunk's page.
    """

    def __init__(self, number: int, chunks: int, increments: dict[str, int]):
        self.others = [n for n in range(chunks) if n != number]
        waits = [f"wait_{x}_{n}" for x in ("distance", "position") for n in self.others]
        super().__init__(link_ports(number, chunks) | {
            "fields": In(layout_of(["opcode", "is_last", "stage", *waits])), "fetch": Out(1),
            "fetch_address": Out(32), "read_idle": In(1), "start_layer": Out(1), "layer_done": In(1),
            "waiting": In(1), "read_error": In(1), "write_error": In(1),
            "image": Out(signed(ITERATION_BITS + 1)), "input_at": Out(32), "output_at": Out(32),
        } | {f"add_{name}": In(bits) for name, bits in increments.items()})

    def elaborate(self, platform):
        m = Module()
        stored = {name: Signal(32, name=f"{name}_register") for name in PAGED}
        with m.If(self.write), m.Switch(self.write_word):
            for name, register in stored.items():
                with m.Case(REGISTERS[name] >> 2):
                    write_bytes(m, register, self.write_data, self.write_strobes)
        counters = self._counters(m)
        with m.Switch(self.read_word):
            for name, register in stored.items():
                with m.Case(REGISTERS[name] >> 2):
                    m.d.comb += self.data.eq(register)
            for n, counter in enumerate(counters):
                with m.Case((COUNTERS_AT >> 2) + 2 * n):
                    m.d.comb += self.data.eq(counter[:32])
                with m.Case((COUNTERS_AT >> 2) + 2 * n + 1):
                    m.d.comb += self.data.eq(counter[32:])
        causes = {name: Signal(name=f"fault_{name}") for name in ERRORS if name != "busy"}
        length = Signal(32)
        self._run(m, stored, length, causes)
        self._faults(m, causes)
        with m.If(self.begin):
            m.d.sync += [self.running.eq(stored["length"] != 0), length.eq(stored["length"]),
                         self.program.eq(stored["program"])]
        with m.Elif(self.halt):
            m.d.sync += self.running.eq(0)
        return m

    def _counters(self, m):
        """Cycles count from the start bit to the interrupt of a chip whose last chunk this is, both ends included.
        Events are counted a cycle late, so that no carry chain hangs on the logic that makes them.
        """
        counters, ending = [], Signal()
        m.d.sync += ending.eq(self.running)
        for name in COUNTERS:
            counter = Signal(COUNTER_BITS, name=f"count_{name}")
            if name == "cycles":
                step = self.running | ending
            else:
                event = self.layer_done if name == "layer" else getattr(self, f"add_{name}")
                step = Signal(len(event), name=f"step_{name}")
                m.d.sync += step.eq(event)
            with m.If(self.begin):
                m.d.sync += counter.eq(name == "cycles")
            with m.Elif(step.any()):  # else its clock rests
                m.d.sync += counter.eq(counter + step)
            counters.append(counter)
        return counters

    def _faults(self, m, causes):
        """The first cause stays; those of the bus count while no aborted run is being drained from it."""
        silence = Signal(32)  # cycles without bus progress
        m.d.sync += silence.eq(Mux(self.waiting & ~self.begin & ~self.halt, silence + 1, 0))
        m.d.comb += [causes["timeout"].eq((self.timeout != 0) & (silence >= self.timeout)),
                     causes["read"].eq(self.read_error & ~self.abort),
                     causes["write"].eq(self.write_error & ~self.abort)]
        for name, cause in causes.items():
            with m.If(self.running & (self.fault == 0) & cause):
                m.d.sync += self.fault.eq(ERRORS[name])
        with m.If(self.begin | self.halt):
            m.d.sync += self.fault.eq(0)

    def _run(self, m, stored, length, causes):
        f, last, last_image = self.fields, Signal(), Signal()  # what they compare stands still for two cycles before
        m.d.sync += [last.eq(self.position + 1 >= length), last_image.eq(self.image + 1 == self.images)]
        start_pass, next_layer, step_back, keep_first = self._place(m, stored)
        ready = self._waits(m)

        def go_on():
            """To the next layer; a program must not run past its end."""
            with m.If(last):
                m.d.comb += causes["past_end"].eq(1)
                m.next = "FAULT"
            with m.Else():
                next_layer()
                m.next = "FETCH"

        def leave():
            with m.If(self.halt):
                m.next = "IDLE"

        with m.FSM(name="run"):
            with m.State("IDLE"):
                with m.If((self.begin & (stored["length"] != 0) | self.running) & ~self.abort):
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += self.fetch.eq(1)
                m.next = "FETCHING"
                leave()
            with m.State("FETCHING"):
                with m.If(self.read_idle):
                    m.next = "DECODE"
                leave()
            with m.State("DECODE"):
                with m.If((f.opcode != OPCODE_LAYER) | (f.stage < self.stage)):
                    m.d.comb += causes["illegal"].eq(1)
                    m.next = "FAULT"
                with m.Elif(self.image < 0):  # nor have the layers that follow an image yet
                    start_pass()
                    m.next = "FETCH"
                with m.Elif(f.stage != self.stage):
                    step_back()
                with m.Elif(self.image >= self.images):  # nor will this layer have one again
                    keep_first()
                    go_on()
                with m.Else():
                    m.next = "SETUP"
                leave()
            with m.State("SETUP"):
                with m.If(ready):
                    m.next = "START"
                leave()
            with m.State("START"):
                m.d.comb += self.start_layer.eq(1)
                m.next = "LAYER"
                leave()
            with m.State("LAYER"):
                with m.If(self.layer_done & ~f.is_last):
                    go_on()
                with m.Elif(self.layer_done & last_image):
                    m.d.sync += self.running.eq(0)
                    m.next = "IDLE"
                with m.Elif(self.layer_done):
                    start_pass()
                    m.next = "FETCH"
                leave()
            with m.State("FAULT"):
                leave()

    def _place(self, m, stored):
        """Registers that say which instruction, which image and where; the ways in which they move."""
        self.stage = Signal(STAGE_BITS)
        pass_input, pass_output, first_address = Signal(32), Signal(32), Signal(32)  # at stage 0; of the first layer
        first = Signal(POSITION_BITS)
        at = {"input": (self.input_at, pass_input), "output": (self.output_at, pass_output)}
        pitch = {"input": self.input_pitch, "output": self.output_pitch}
        following = self.fetch_address + INSTRUCTION_BYTES
        with m.If(self.begin):
            m.d.sync += [self.iteration.eq(0), self.position.eq(0), first.eq(0), self.stage.eq(0), self.image.eq(0),
                         self.fetch_address.eq(stored["program"]), first_address.eq(stored["program"])]
            m.d.sync += [place.eq(getattr(self, x)) for x, places in at.items() for place in places]

        def start_pass():
            m.d.sync += [self.iteration.eq(self.iteration + 1), self.image.eq(self.iteration + 1), self.stage.eq(0),
                         self.position.eq(first), self.fetch_address.eq(first_address)]
            m.d.sync += [place.eq(places[1] + pitch[x]) for x, places in at.items() for place in places]

        def next_layer():
            m.d.sync += [self.position.eq(self.position + 1), self.fetch_address.eq(following)]

        def step_back():
            m.d.sync += [self.stage.eq(self.stage + 1), self.image.eq(self.image - 1)]
            m.d.sync += [places[0].eq(places[0] - pitch[x]) for x, places in at.items()]

        def keep_first():
            m.d.sync += [first.eq(self.position + 1), first_address.eq(following)]

        return start_pass, next_layer, step_back, keep_first

    def _waits(self, m):
        """Whether every other chunk had come far enough a cycle ago."""
        f, passed = self.fields, []
        for n in self.others:
            distance, position = f[f"wait_distance_{n}"], f[f"wait_position_{n}"]
            wanted = Signal(signed(ITERATION_BITS + 1), name=f"wanted_iteration_{n}")
            iteration = getattr(self, f"other_iteration_{n}")
            m.d.comb += wanted.eq(self.iteration - distance)
            passed.append((distance == 0) | (wanted < 0) | ~getattr(self, f"other_running_{n}") | (iteration > wanted)
                          | ((iteration == wanted) & (getattr(self, f"other_position_{n}") >= position)))
        ready = Signal()
        m.d.sync += ready.eq(Cat(1, *passed).all())
        return ready

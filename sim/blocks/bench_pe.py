"""The first PE of two, with its accumulator, from captures to the drain; against lists of Python integers."""

import cocotb

from dna_asic.spec.latency import PE_CYCLES
from sim.blocks.bench import Bench, mask, seeded
from sim.blocks.blocks import PAIR

_CHUNK = PAIR.chunks[0]
_WORDS = {"w": _CHUNK.rf_w_words, "i": _CHUNK.rf_i_words, "o": _CHUNK.rf_o_words}
_EXTREMES = (-128, -127, -1, 0, 1, 127)
_MAC = ("issue", "w_load", "i_load", "visit_start", "visit_first", "visit_end")


class Model:
    """What the register files hold, `files[x][half][word]`; None is unknown.

    A psum ends its visit in `latest` at once; in `files` it appears PE_CYCLES after its last MAC was issued.
    """

    def __init__(self):
        self.files = {x: [[None] * words for _ in range(2)] for x, words in _WORDS.items()}
        self.latest = [[None] * _WORDS["o"] for _ in range(2)]
        self.operand, self.psum, self.written = {"w": None, "i": None}, None, []

    def capture(self, x, half, word, value):
        """A word of W or I arrives."""
        self.files[x][half][word] = value

    def mac(self, now, s, op_max):
        """One MAC of stimulus `s`."""
        for x in "wi":
            if s[f"{x}_load"]:
                self.operand[x] = self.files[x][s[f"{x}_half"]][s[f"{x}_address"]]
        product = self.operand["i"] if op_max else self.operand["w"] * self.operand["i"]
        half, word = s["o_half"], s["o_address"]
        if s["visit_start"] and s["visit_first"]:
            self.psum = product
        else:
            base = self.latest[half][word] if s["visit_start"] else self.psum
            self.psum = max(base, product) if op_max else base + product
        if s["visit_end"]:
            self.latest[half][word] = self.psum
            self.written.append((now + PE_CYCLES, half, word, self.psum))

    def settle(self, now):
        """Let psums appear whose time has come."""
        while self.written and self.written[0][0] <= now:
            _, half, word, value = self.written.pop(0)
            self.files["o"][half][word] = value

    def lose(self):
        """After a reset: psums under way, and the word of a broken visit, are unknown."""
        for _, half, word, _ in self.written:
            self.files["o"][half][word] = None
        self.written, self.latest = [], [list(half) for half in self.files["o"]]


class Stimulus:
    """Random cycles of captures and MACs that never read an unknown word."""

    def __init__(self, bench, rng):
        self.bench, self.rng, self.model = bench, rng, Model()
        self.half, self.halves_of_o = dict.fromkeys("wio", 0), [0] * PE_CYCLES
        self.open, self.checked = False, 0  # a visit is under way; psums compared
        self.drained = None  # psum that the lane shows in the next cycle

    def _int8(self):
        return self.rng.choice(_EXTREMES) if self.rng.random() < 0.4 else self.rng.randint(-128, 127)

    def _capture(self):
        """Inputs of this cycle's capture, and what it writes: (operand, word, value) or None."""
        rng, x, value = self.rng, self.rng.choice("wi"), self._int8()
        other = {f"{y}_lines": 2 * rng.randrange(2) for y in "wi"}  # what the second PE takes
        inputs = other | {"w_places": 0, "i_places": 0, f"{x}_data": mask(value, 8)}
        if rng.random() < 0.3:
            return inputs | rng.choice(({"w_lines": 3}, {"i_lines": 3}, {"w_places": 1, "i_places": 1})), None
        word = rng.randrange(_WORDS[x])
        place = {"w_word" if x == "w" else "i_line_word": word}
        return inputs | place | {f"{x}_lines": other[f"{x}_lines"] + 1, f"{x}_places": 1}, (x, word, value)

    def _mac(self, share):
        """Inputs of this cycle's MAC, or noise with `issue` low."""
        rng, s = self.rng, {name: self.rng.randrange(2) for name in _MAC}
        s |= {f"{x}_address": rng.randrange(_WORDS[x]) for x in "wio"}
        if self.open:
            s |= {"o_address": self.word, "visit_start": 0}
        else:
            s["visit_start"] = 1
        s["visit_first"] |= self.model.latest[self.half["o"]][s["o_address"]] is None
        for x in "wi":
            s[f"{x}_load"] |= self.model.operand[x] is None
        known = all(self.model.files[x][self.half[x]][s[f"{x}_address"]] is not None for x in "wi")
        s["issue"] = int(known and rng.random() < share)
        return s

    async def cycle(self, *, share, op_max=0, used=1, flip=0.1):
        """One cycle; share: of cycles with a MAC. used: whether the PE is. flip: chance of each half."""
        rng, model = self.rng, self.model
        for x in "wio":
            self.half[x] ^= rng.random() < flip and not (x == "o" and self.open)
        captured, written = self._capture()
        s = self._mac(share) | {f"{x}_half": half for x, half in self.half.items()}
        drained = rng.randrange(_WORDS["o"])
        await self.bench.cycle(**captured, **s, op_max=op_max, row_used=2 + used, col_used=1, drain_word=drained)
        if self.drained is not None:
            assert self.bench.get_signed("lane_0") == self.drained, "psum of the half being drained"
            self.checked += 1
        self.halves_of_o.append(s["o_half"])
        model.settle(self.bench.now)
        self.drained = model.files["o"][1 - self.halves_of_o[-PE_CYCLES]][drained]  # on the lane in the next cycle
        if s["issue"] and used:
            model.mac(self.bench.now, s, op_max)
            self.open, self.word = not s["visit_end"], s["o_address"]
        if written:
            x, word, value = written
            model.capture(x, 1 - s[f"{x}_half"], word, value)

    async def section(self, cycles, **settings):
        """Many cycles with one operation, then enough to see all psums."""
        for _ in range(cycles):
            await self.cycle(share=0.9, **settings)
        self.open = False
        for n in range(12 * _WORDS["o"]):
            await self.cycle(share=0, flip=0.2 if n > PE_CYCLES else 0, **settings)


@cocotb.test()
async def computes_and_drains(dut):
    """Sums and maxima of random visits; both halves of every register file; captures and drains meanwhile."""
    stimulus = Stimulus(await Bench.start(dut, "pe"), seeded("pe"))
    await stimulus.section(100)
    for op_max in (0, 1, 0, 1):
        await stimulus.section(400, op_max=op_max)
    assert stimulus.checked > 1000


@cocotb.test()
async def unused_pe_keeps_its_psums(dut):
    """MACs of a PE out of use change neither psums nor operands."""
    stimulus = Stimulus(await Bench.start(dut, "pe"), seeded("pe unused"))
    await stimulus.section(100)
    for n in range(20):
        await stimulus.section(20, used=n % 2)
    assert stimulus.checked > 200


@cocotb.test()
async def forgets_macs_at_reset(dut):
    """A reset in the middle drops what is under way; visits that begin after it are exact."""
    stimulus = Stimulus(await Bench.start(dut, "pe"), seeded("pe reset"))
    for _ in range(8):
        for _ in range(stimulus.rng.randint(20, 120)):
            await stimulus.cycle(share=1)
        await stimulus.bench.reset(issue=0, w_lines=0, i_lines=0)
        stimulus.model.lose()
        stimulus.drained = None
        stimulus.open, stimulus.halves_of_o = False, [0] * PE_CYCLES + [stimulus.half["o"]]
        await stimulus.section(100)
    assert stimulus.checked > 500

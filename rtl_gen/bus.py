"""The AXI4 master side: what has been asked of the bus is counted here, so that an aborted run can be drained."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

_INCR = 1
OUTSTANDING_BITS = 18
CHANNELS = ("arvalid", "arready", "araddr", "arlen", "rvalid", "rready", "rdata", "rresp", "awvalid", "awready",
            "awaddr", "awlen", "wvalid", "wready", "wdata", "wstrb", "wlast", "bvalid", "bready", "bresp")


class ReadBus(wiring.Component):
    """Read channels. A burst is asked for by `ask` with `address` and `beats_last` while `ready`; it goes out in the
    next cycle. Data passes through unregistered. quiet: nothing asked for is still to come. waiting: it is the
    memory's turn. moving: a handshake happens in this cycle. error: a beat came with a response other than OKAY.
    discard: take and drop all data.
    """

    def __init__(self, port_bytes: int):
        self.port_bytes = port_bytes
        super().__init__({
            "ask": In(1), "address": In(32), "beats_last": In(8), "ready": Out(1),
            "valid": Out(1), "data": Out(8 * port_bytes), "take": In(1), "discard": In(1),
            "quiet": Out(1), "waiting": Out(1), "moving": Out(1), "error": Out(1),
            "arvalid": Out(1), "arready": In(1), "araddr": Out(32), "arlen": Out(8),
            "rvalid": In(1), "rready": Out(1), "rdata": In(8 * port_bytes), "rresp": In(2),
        })

    def elaborate(self, platform):
        m = Module()
        owed, counting = Signal(OUTSTANDING_BITS), Signal()  # what was asked for is counted a cycle later
        asked, received = self.ask & self.ready, self.rvalid & self.rready
        m.d.comb += [self.ready.eq(~self.arvalid | self.arready), self.valid.eq(self.rvalid & ~self.discard),
                     self.data.eq(self.rdata), self.rready.eq(self.take | self.discard),
                     self.quiet.eq((owed == 0) & ~self.arvalid), self.error.eq(received & (self.rresp != 0)),
                     self.waiting.eq((counting | (owed != 0)) & ~self.rvalid),
                     self.moving.eq(received | (self.arvalid & self.arready))]
        with m.If(asked):
            m.d.sync += [self.arvalid.eq(1), self.araddr.eq(self.address), self.arlen.eq(self.beats_last)]
        with m.Elif(self.arready):
            m.d.sync += self.arvalid.eq(0)
        m.d.sync += [counting.eq(asked), owed.eq(owed + Mux(counting, self.arlen + 1, 0) - received)]
        return m


class WriteBus(wiring.Component):
    """Write channels. `put` with `data` while `ready`; the first beat of a burst comes with `first`, `address` and
    `beats_last`. Address and data go out in the next cycle. discard: finish a burst that was begun with beats that
    write nothing. Data does not wait for its address to be taken. quiet, waiting, moving, error: as ReadBus, error for
    the responses.
    """

    def __init__(self, port_bytes: int):
        self.port_bytes = port_bytes
        super().__init__({
            "put": In(1), "first": In(1), "address": In(32), "beats_last": In(8), "data": In(8 * port_bytes),
            "ready": Out(1), "discard": In(1), "quiet": Out(1), "waiting": Out(1), "moving": Out(1), "error": Out(1),
            "awvalid": Out(1), "awready": In(1), "awaddr": Out(32), "awlen": Out(8),
            "wvalid": Out(1), "wready": In(1), "wdata": Out(8 * port_bytes), "wstrb": Out(port_bytes),
            "wlast": Out(1), "bvalid": In(1), "bready": Out(1), "bresp": In(2),
        })

    def elaborate(self, platform):
        m = Module()
        left, owed = Signal(8), Signal(OUTSTANDING_BITS)  # beats of the burst to come, responses to come
        address_free, data_free = ~self.awvalid | self.awready, ~self.wvalid | self.wready
        filler = self.discard & (left != 0) & data_free
        begun = self.put & self.first & self.ready
        m.d.comb += [self.ready.eq((address_free | ~self.first) & data_free & ~self.discard), self.bready.eq(1),
                     self.quiet.eq((owed == 0) & ~self.awvalid & ~self.wvalid & (left == 0)),
                     self.error.eq(self.bvalid & (self.bresp != 0)),
                     self.waiting.eq(self.awvalid | self.wvalid | ((owed != 0) & (left == 0))),
                     self.moving.eq((self.awvalid & self.awready) | (self.wvalid & self.wready) | self.bvalid)]
        with m.If(begun):
            m.d.sync += [self.awvalid.eq(1), self.awaddr.eq(self.address), self.awlen.eq(self.beats_last)]
        with m.Elif(self.awready):
            m.d.sync += self.awvalid.eq(0)
        with m.If(self.put & self.ready):
            following = Signal(8)
            m.d.comb += following.eq(Mux(self.first, self.beats_last, left - 1))
            m.d.sync += [self.wvalid.eq(1), self.wdata.eq(self.data), self.wstrb.eq(-1), left.eq(following),
                         self.wlast.eq(following == 0)]
        with m.Elif(filler):
            m.d.sync += [self.wvalid.eq(1), self.wstrb.eq(0), left.eq(left - 1), self.wlast.eq(left == 1)]
        with m.Elif(self.wready):
            m.d.sync += self.wvalid.eq(0)
        m.d.sync += owed.eq(owed + begun - self.bvalid)
        return m


def burst_constants(port_bytes: int) -> dict[str, int]:
    """Values of the AXI signals that never change: INCR bursts of whole beats, one ID, normal memory."""
    size = (port_bytes - 1).bit_length()
    return {"burst": _INCR, "size": size, "lock": 0, "cache": 3, "prot": 0, "id": 0, "qos": 0, "region": 0}

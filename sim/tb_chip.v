// The chip with its memory. A change of `request` makes one AXI4-Lite access (write, address, data), which is over when
// `response` equals it. The memory is loaded from the file of +image. Each rising `dump` writes a part of it to
// memory.hex and poisons the words from `wipe_first` on, so that no later run finds there what it should write. Each
// finished layer adds a line to layers.txt: its chunk, cycles since the start of the run, the chunk's event counters.
// `vector_chip` is the chip with the ports of its chunks as fields of vectors (sim/vector_chip.py). With +waves, the chip goes to activity.vcd
// from the first rising `record` on.
`timescale 1ns / 1ps
module tb_chip #(
    parameter PORTS = 1,
    parameter PORT_BYTES = 8,
    parameter SIZE_BYTES = 65536,
    parameter LATENCY = 20
);
    /* verilator public_flat_rw_on */  // what cocotb touches
    reg clk = 0;
    reg rst = 1, dump = 0, record = 0;
    reg [31:0] stall_seed = 0, dump_first = 0, dump_last = 0, wipe_first = 0;
    reg request = 0, response = 0, write = 0;
    reg [11:0] address = 0;
    reg [31:0] data = 0;
    wire irq, wrong_last;
    /* verilator public_off */
    wire [PORTS-1:0] layer_done;
    reg awvalid_lite = 0, arvalid_lite = 0;
    wire awready_lite, bvalid_lite, arready_lite, rvalid_lite;
    wire [31:0] rdata_lite;
    always #0.5 clk = ~clk;

    wire [PORTS-1:0] arvalid, arready, rvalid, rready, rlast, awvalid, awready, wvalid, wready, wlast, bvalid, bready;
    wire [32*PORTS-1:0] araddr, awaddr;
    wire [8*PORTS-1:0] arlen, awlen;
    wire [8*PORT_BYTES*PORTS-1:0] rdata, wdata;
    wire [PORT_BYTES*PORTS-1:0] wstrb;
    wire [2*PORTS-1:0] rresp, bresp;

    vector_chip dut (
        .clk(clk), .rst(rst), .irq(irq), .layer_done(layer_done),
        .awvalid_lite(awvalid_lite), .awready_lite(awready_lite), .bvalid_lite(bvalid_lite),
        .arvalid_lite(arvalid_lite), .arready_lite(arready_lite), .rvalid_lite(rvalid_lite), .address(address),
        .wdata_lite(data), .rdata_lite(rdata_lite),
        .arvalid(arvalid), .arready(arready), .araddr(araddr), .arlen(arlen),
        .rvalid(rvalid), .rready(rready), .rdata(rdata), .rresp(rresp), .rlast(rlast),
        .awvalid(awvalid), .awready(awready), .awaddr(awaddr), .awlen(awlen),
        .wvalid(wvalid), .wready(wready), .wdata(wdata), .wstrb(wstrb), .wlast(wlast),
        .bvalid(bvalid), .bready(bready), .bresp(bresp)
    );
    memory #(.PORTS(PORTS), .PORT_BYTES(PORT_BYTES), .SIZE_BYTES(SIZE_BYTES), .LATENCY(LATENCY)) memory (
        .clk(clk), .rst(rst), .stall_seed(stall_seed), .wrong_last(wrong_last),
        .arvalid(arvalid), .arready(arready), .araddr(araddr), .arlen(arlen),
        .rvalid(rvalid), .rready(rready), .rdata(rdata), .rresp(rresp), .rlast(rlast),
        .awvalid(awvalid), .awready(awready), .awaddr(awaddr), .awlen(awlen),
        .wvalid(wvalid), .wready(wready), .wdata(wdata), .wstrb(wstrb), .wlast(wlast),
        .bvalid(bvalid), .bready(bready), .bresp(bresp)
    );

    reg [8*256-1:0] image;
    integer layers;
    initial begin
        if ($value$plusargs("image=%s", image)) $readmemh(image, memory.mem);
        layers = $fopen("layers.txt", "w");
    end
    integer word;
    always @(posedge dump) begin
        $writememh("memory.hex", memory.mem, dump_first, dump_last);
        for (word = wipe_first; word <= dump_last; word = word + 1) memory.mem[word] = {PORT_BYTES{8'hA5}};
    end

    reg asked = 0;
    always @(posedge clk) begin
        if (request != asked) begin
            asked <= request;
            awvalid_lite <= write;
            arvalid_lite <= !write;
        end
        if (awready_lite) awvalid_lite <= 0;
        if (arready_lite) arvalid_lite <= 0;
        if (bvalid_lite || rvalid_lite) begin
            response <= request;
            if (rvalid_lite) data <= rdata_lite;
        end
    end

    reg [31:0] cycles = 0;  // since the cycle of the start bit
    wire started = awvalid_lite && awready_lite && address == 12'h004 && data[0];
    integer chunk;
    always @(posedge clk) begin
        cycles <= started ? 1 : cycles + 1;
        for (chunk = 0; chunk < PORTS; chunk = chunk + 1)
            if (layer_done[chunk]) begin
                $fwrite(layers, "%0d %0d", chunk, cycles);
                dut.write_counters(layers, chunk);
                $fdisplay(layers);
            end
        if (layer_done != 0) $fflush(layers);
    end

    always @(posedge record)
        if ($test$plusargs("waves")) begin
            $dumpfile("activity.vcd");
            $dumpvars(0, dut);
        end
endmodule

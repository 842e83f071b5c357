// The chip with its memory. A change of `request` makes one AXI4-Lite access (write, address, data), which is over when
// `response` equals it. The memory is loaded from the file of +image. Each rising `dump` writes a part of it to
// memory.hex and poisons the words from `wipe_first` on, so that no later run finds there what it should write. Each
// finished layer adds a line to layers.txt: cycles since the start of the run, then the event counters in the order of
// rtl_gen.control.COUNTERS, from macs to dram_o_beats. With +waves, `chip` goes to activity.vcd
// from the first rising `record` on.
`timescale 1ns / 1ps
module tb_chip #(
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
    wire layer_done;
    reg awvalid_lite = 0, arvalid_lite = 0;
    wire awready_lite, bvalid_lite, arready_lite, rvalid_lite;
    wire [31:0] rdata_lite;
    always #0.5 clk = ~clk;

    wire arvalid, arready, rvalid, rready, rlast, awvalid, awready, wvalid, wready, wlast, bvalid, bready;
    wire [31:0] araddr, awaddr;
    wire [7:0] arlen, awlen;
    wire [8*PORT_BYTES-1:0] rdata, wdata;
    wire [PORT_BYTES-1:0] wstrb;
    wire [1:0] rresp, bresp;

    chip chip (
        .clk(clk), .rst(rst), .irq(irq), .layer_done(layer_done),
        .s_axil_awaddr(address), .s_axil_awprot(3'd0), .s_axil_awvalid(awvalid_lite), .s_axil_awready(awready_lite),
        .s_axil_wdata(data), .s_axil_wstrb(4'hF), .s_axil_wvalid(awvalid_lite), .s_axil_bvalid(bvalid_lite),
        .s_axil_bready(1'b1), .s_axil_araddr(address), .s_axil_arprot(3'd0), .s_axil_arvalid(arvalid_lite),
        .s_axil_arready(arready_lite), .s_axil_rdata(rdata_lite), .s_axil_rvalid(rvalid_lite), .s_axil_rready(1'b1),
        .m_axi_arvalid(arvalid), .m_axi_arready(arready), .m_axi_araddr(araddr), .m_axi_arlen(arlen),
        .m_axi_rvalid(rvalid), .m_axi_rready(rready), .m_axi_rdata(rdata), .m_axi_rresp(rresp), .m_axi_rlast(rlast),
        .m_axi_rid(1'b0), .m_axi_awvalid(awvalid), .m_axi_awready(awready), .m_axi_awaddr(awaddr),
        .m_axi_awlen(awlen), .m_axi_wvalid(wvalid), .m_axi_wready(wready), .m_axi_wdata(wdata), .m_axi_wstrb(wstrb),
        .m_axi_wlast(wlast), .m_axi_bvalid(bvalid), .m_axi_bready(bready), .m_axi_bresp(bresp), .m_axi_bid(1'b0)
    );
    memory #(.PORT_BYTES(PORT_BYTES), .SIZE_BYTES(SIZE_BYTES), .LATENCY(LATENCY)) memory (
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
    always @(posedge clk) begin
        cycles <= started ? 1 : cycles + 1;
        if (layer_done) begin
            $fwrite(layers, "%0d %0d %0d %0d %0d", cycles, chip.control.count_macs, chip.control.count_rf_w_reads,
                    chip.control.count_rf_i_reads, chip.control.count_rf_o_reads);
            $fwrite(layers, " %0d %0d %0d", chip.control.count_rf_w_writes, chip.control.count_rf_i_writes,
                    chip.control.count_rf_o_writes);
            $fwrite(layers, " %0d %0d %0d", chip.control.count_gb_w_reads, chip.control.count_gb_i_reads,
                    chip.control.count_gb_o_reads);
            $fwrite(layers, " %0d %0d %0d", chip.control.count_gb_w_writes, chip.control.count_gb_i_writes,
                    chip.control.count_gb_o_writes);
            $fdisplay(layers, " %0d %0d %0d %0d %0d", chip.control.count_dram_w_beats, chip.control.count_dram_i_beats,
                      chip.control.count_dram_r_beats, chip.control.count_dram_p_beats, chip.control.count_dram_o_beats);
            $fflush(layers);
        end
    end

    always @(posedge record)
        if ($test$plusargs("waves")) begin
            $dumpfile("activity.vcd");
            $dumpvars(0, chip);
        end
endmodule

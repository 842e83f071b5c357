// AXI4 memory with PORTS ports on one array; port n has the n-th field of every vector. Ideal while stall_seed is 0: an
// address accepted in cycle t gives its first beat in cycle t + LATENCY, then a beat a cycle; addresses and data are
// always taken; a response comes two cycles after a burst's last beat. With another seed every channel of every port
// stalls at random. Beats beyond SIZE_BYTES get DECERR.
module memory #(
    parameter PORTS = 1,
    parameter PORT_BYTES = 8,
    parameter SIZE_BYTES = 65536,
    parameter LATENCY = 20
) (
    input                             clk,
    input                             rst,
    input      [31:0]                 stall_seed,
    input      [PORTS-1:0]            arvalid,
    output     [PORTS-1:0]            arready,
    input      [32*PORTS-1:0]         araddr,
    input      [8*PORTS-1:0]          arlen,
    output     [PORTS-1:0]            rvalid,
    input      [PORTS-1:0]            rready,
    output     [8*PORT_BYTES*PORTS-1:0] rdata,
    output     [2*PORTS-1:0]          rresp,
    output     [PORTS-1:0]            rlast,
    input      [PORTS-1:0]            awvalid,
    output     [PORTS-1:0]            awready,
    input      [32*PORTS-1:0]         awaddr,
    input      [8*PORTS-1:0]          awlen,
    input      [PORTS-1:0]            wvalid,
    output     [PORTS-1:0]            wready,
    input      [8*PORT_BYTES*PORTS-1:0] wdata,
    input      [PORT_BYTES*PORTS-1:0] wstrb,
    input      [PORTS-1:0]            wlast,
    output     [PORTS-1:0]            bvalid,
    input      [PORTS-1:0]            bready,
    output     [2*PORTS-1:0]          bresp,
    output                            wrong_last  // a burst was longer or shorter than it said
);
    localparam WORDS = SIZE_BYTES / PORT_BYTES;
    localparam BITS = 8 * PORT_BYTES;

    reg [BITS-1:0] mem [0:WORDS-1];
    wire [32*PORTS-1:0] read_word, write_word;
    wire [PORTS-1:0] read_en, write_en, wrong;
    assign wrong_last = |wrong;

    genvar n;
    generate
        for (n = 0; n < PORTS; n = n + 1) begin : port
            memory_port #(.WORDS(WORDS), .PORT_BYTES(PORT_BYTES), .LATENCY(LATENCY)) port (
                .clk(clk), .rst(rst), .stall_seed(stall_seed == 0 ? 0 : stall_seed + 32'h9E3779B9 * n),
                .ideal(stall_seed == 0),
                .arvalid(arvalid[n]), .arready(arready[n]), .araddr(araddr[32*n +: 32]), .arlen(arlen[8*n +: 8]),
                .rvalid(rvalid[n]), .rready(rready[n]), .rresp(rresp[2*n +: 2]), .rlast(rlast[n]),
                .awvalid(awvalid[n]), .awready(awready[n]), .awaddr(awaddr[32*n +: 32]), .awlen(awlen[8*n +: 8]),
                .wvalid(wvalid[n]), .wready(wready[n]), .wlast(wlast[n]),
                .bvalid(bvalid[n]), .bready(bready[n]), .bresp(bresp[2*n +: 2]),
                .read_en(read_en[n]), .read_word(read_word[32*n +: 32]),
                .write_en(write_en[n]), .write_word(write_word[32*n +: 32]), .wrong_last(wrong[n])
            );
            assign rdata[BITS*n +: BITS] = read_en[n] ? mem[read_word[32*n +: 32]] : 0;
        end
    endgenerate

    integer p, lane;
    always @(posedge clk)
        for (p = 0; p < PORTS; p = p + 1)
            if (write_en[p])
                for (lane = 0; lane < PORT_BYTES; lane = lane + 1)
                    if (wstrb[PORT_BYTES*p + lane])
                        mem[write_word[32*p +: 32]][8*lane +: 8] <= wdata[BITS*p + 8*lane +: 8];
endmodule

// One port: what is outstanding, and when it is answered. read_en, write_en: a word of the array is on the data channel.
module memory_port #(
    parameter WORDS = 8192,
    parameter PORT_BYTES = 8,
    parameter LATENCY = 20,
    parameter DEPTH_LOG2 = 9  // bursts of either kind that can be outstanding
) (
    input             clk,
    input             rst,
    input             ideal,
    input      [31:0] stall_seed,
    input             arvalid,
    output            arready,
    input      [31:0] araddr,
    input      [7:0]  arlen,
    output            rvalid,
    input             rready,
    output     [1:0]  rresp,
    output            rlast,
    input             awvalid,
    output            awready,
    input      [31:0] awaddr,
    input      [7:0]  awlen,
    input             wvalid,
    output            wready,
    input             wlast,
    output            bvalid,
    input             bready,
    output     [1:0]  bresp,
    output            read_en,
    output     [31:0] read_word,
    output            write_en,
    output     [31:0] write_word,
    output reg        wrong_last
);
    localparam SHIFT = $clog2(PORT_BYTES);
    localparam DEPTH = 1 << DEPTH_LOG2;
    localparam [1:0] OKAY = 2'b00, DECERR = 2'b11;

    reg [31:0] now;

    // Random stalls: one bit per channel from an xorshift register; 0 stays 0.
    reg [31:0] noise;
    wire [31:0] noise_1 = noise ^ (noise << 13);
    wire [31:0] noise_2 = noise_1 ^ (noise_1 >> 17);
    reg seeded;
    always @(posedge clk)
        if (ideal) seeded <= 0;
        else begin
            seeded <= 1;
            noise <= seeded ? noise_2 ^ (noise_2 << 5) : stall_seed == 0 ? 1 : stall_seed;
        end

    // Reads
    reg [31:0] ar_at [0:DEPTH-1];
    reg [31:0] ar_address [0:DEPTH-1];
    reg [7:0] ar_last [0:DEPTH-1];
    reg [DEPTH_LOG2:0] ar_head, ar_tail;
    reg [7:0] r_beat;
    reg r_open;
    wire [DEPTH_LOG2-1:0] r_burst = ar_head[DEPTH_LOG2-1:0];
    wire r_inside = read_word < WORDS;
    assign read_word = (ar_address[r_burst] >> SHIFT) + {24'd0, r_beat};
    assign read_en = rvalid && r_inside;
    assign arready = (ar_tail - ar_head != DEPTH) && (ideal || noise[0]);
    assign rvalid = ar_head != ar_tail && now >= ar_at[r_burst] && (ideal || r_open);
    assign rresp = r_inside ? OKAY : DECERR;
    assign rlast = r_beat == ar_last[r_burst];

    always @(posedge clk)
        if (rst) begin
            ar_head <= 0;
            ar_tail <= 0;
            r_beat <= 0;
            r_open <= 0;
        end else begin
            if (arvalid && arready) begin
                ar_at[ar_tail[DEPTH_LOG2-1:0]] <= now + LATENCY;
                ar_address[ar_tail[DEPTH_LOG2-1:0]] <= araddr;
                ar_last[ar_tail[DEPTH_LOG2-1:0]] <= arlen;
                ar_tail <= ar_tail + 1;
            end
            if (rvalid && rready) begin
                r_beat <= rlast ? 0 : r_beat + 1;
                if (rlast) ar_head <= ar_head + 1;
            end
            if (!rvalid || rready) r_open <= noise[7] | noise[11];
        end

    // Writes; the first beat of a burst may come with its address
    reg [31:0] aw_address [0:DEPTH-1];
    reg [7:0] aw_last [0:DEPTH-1];
    reg [DEPTH_LOG2:0] aw_head, aw_tail;
    reg [7:0] w_beat;
    reg w_fault;
    wire aw_taken = awvalid && awready;
    wire aw_queued = aw_head != aw_tail;
    wire [DEPTH_LOG2-1:0] w_burst = aw_head[DEPTH_LOG2-1:0];
    wire [7:0] w_last = aw_queued ? aw_last[w_burst] : awlen;
    wire w_inside = write_word < WORDS;
    assign write_word = ((aw_queued ? aw_address[w_burst] : awaddr) >> SHIFT) + {24'd0, w_beat};
    assign write_en = wvalid && wready && w_inside && !rst;
    assign awready = (aw_tail - aw_head != DEPTH) && (ideal || noise[17]);
    assign wready = (aw_queued || aw_taken) && (ideal || noise[20]);

    // Responses
    reg [31:0] b_at [0:DEPTH-1];
    reg [1:0] b_resp [0:DEPTH-1];
    reg [DEPTH_LOG2:0] b_head, b_tail;
    reg b_open;
    assign bvalid = b_head != b_tail && now >= b_at[b_head[DEPTH_LOG2-1:0]] && (ideal || b_open);
    assign bresp = b_resp[b_head[DEPTH_LOG2-1:0]];

    always @(posedge clk) begin
        now <= rst ? 0 : now + 1;
        if (rst) begin
            aw_head <= 0;
            aw_tail <= 0;
            w_beat <= 0;
            w_fault <= 0;
            b_head <= 0;
            b_tail <= 0;
            b_open <= 0;
            wrong_last <= 0;
        end else begin
            if (aw_taken) begin
                aw_address[aw_tail[DEPTH_LOG2-1:0]] <= awaddr;
                aw_last[aw_tail[DEPTH_LOG2-1:0]] <= awlen;
                aw_tail <= aw_tail + 1;
            end
            if (wvalid && wready) begin
                if (wlast != (w_beat == w_last)) wrong_last <= 1;
                if (w_beat == w_last) begin
                    w_beat <= 0;
                    w_fault <= 0;
                    aw_head <= aw_head + 1;
                    b_at[b_tail[DEPTH_LOG2-1:0]] <= now + 2;
                    b_resp[b_tail[DEPTH_LOG2-1:0]] <= w_fault || !w_inside ? DECERR : OKAY;
                    b_tail <= b_tail + 1;
                end else begin
                    w_beat <= w_beat + 1;
                    w_fault <= w_fault || !w_inside;
                end
            end
            if (bvalid && bready) b_head <= b_head + 1;
            if (!bvalid || bready) b_open <= noise[26];
        end
    end
endmodule

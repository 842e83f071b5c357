// Small blocks of an accelerator, for the comparison of libraries (check.py): inputs and outputs are registered.
module mac(input clk, input rst, input en, input signed [7:0] w, input signed [7:0] x, output reg signed [31:0] acc);
  reg signed [7:0] rw, rx;
  reg signed [15:0] product;
  always @(posedge clk) begin
    rw <= w; rx <= x;
    product <= rw * rx;
    if (rst) acc <= 0; else if (en) acc <= acc + product;
  end
endmodule

module adder_tree(input clk, input [255:0] terms, output reg signed [19:0] sum);
  reg [255:0] held;
  integer i;
  reg signed [19:0] total;
  always @* begin
    total = 0;
    for (i = 0; i < 16; i = i + 1) total = total + $signed(held[16 * i +: 16]);
  end
  always @(posedge clk) begin held <= terms; sum <= total; end
endmodule

module requantise(input clk, input signed [31:0] psum, input signed [25:0] multiplier, input [4:0] shift,
    output reg signed [7:0] y);
  reg signed [31:0] p;
  reg signed [25:0] m;
  reg [4:0] s, s2;
  reg signed [57:0] product;
  wire signed [57:0] rounded = (product + (58'sd1 <<< s2)) >>> s2;
  always @(posedge clk) begin
    p <= psum; m <= multiplier; s <= shift; s2 <= s;
    product <= p * m;
    y <= rounded > 127 ? 8'sd127 : rounded < -128 ? -8'sd128 : rounded[7:0];
  end
endmodule

module pe(input clk, input write, input [2:0] write_address, input [2:0] read_address, input signed [7:0] w_in,
    input signed [7:0] x_in, input first, output reg signed [31:0] psum);
  reg signed [7:0] weights [0:7];
  reg signed [7:0] inputs [0:7];
  reg signed [7:0] w, x;
  reg signed [15:0] product;
  always @(posedge clk) begin
    if (write) begin weights[write_address] <= w_in; inputs[write_address] <= x_in; end
    w <= weights[read_address];
    x <= inputs[read_address];
    product <= w * x;
    psum <= (first ? 32'sd0 : psum) + product;
  end
endmodule

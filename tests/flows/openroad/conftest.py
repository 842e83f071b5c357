"""A small design with what the flow must handle: a module that stands four times, and a memory."""

import pytest

PE = """
module pe(input clk, input rst, input en, input signed [7:0] w, input signed [7:0] x, output reg signed [31:0] acc);
  reg signed [15:0] p;
  always @(posedge clk) begin
    p <= w * x;
    if (rst) acc <= 0; else if (en) acc <= acc + p;
  end
endmodule
"""
SRAM = """
module sram_64x32(input wire clk, input wire rst, input wire write_en, input wire [5:0] write_address,
  input wire [31:0] write_data, input wire read_en, input wire [5:0] read_address, output reg [31:0] read_data);
  reg [31:0] words [0:63];
  always @(posedge clk) begin
    if (write_en) words[write_address] <= write_data;
    if (read_en) read_data <= words[read_address];
  end
endmodule
"""
CHIP = """
module chip(input clk, input rst, input en, input [5:0] a, output reg [31:0] y);
  wire [31:0] d, a0, a1, a2, a3;
  wire [31:0] sum = a0 ^ a1 ^ a2 ^ a3;
  sram_64x32 mem(.clk(clk), .rst(rst), .write_en(en), .write_address(a), .write_data(sum), .read_en(1'b1),
    .read_address(a), .read_data(d));
  pe pe_0(.clk(clk), .rst(rst), .en(en), .w(d[7:0]), .x(d[15:8]), .acc(a0));
  pe pe_1(.clk(clk), .rst(rst), .en(en), .w(d[15:8]), .x(d[15:8]), .acc(a1));
  pe pe_2(.clk(clk), .rst(rst), .en(en), .w(d[23:16]), .x(d[15:8]), .acc(a2));
  pe pe_3(.clk(clk), .rst(rst), .en(en), .w(d[31:24]), .x(d[15:8]), .acc(a3));
  always @(posedge clk) y <= sum;
endmodule
"""


@pytest.fixture
def rtl(tmp_path):
    """The design as a file, top first."""
    path = tmp_path / "chip.v"
    path.write_text(CHIP + PE + SRAM)
    return path

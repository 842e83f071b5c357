"""What place and route, and the abstracts of memories, must know of a platform: site, layers, supply grid, cells."""

from dataclasses import dataclass

from dna_asic.errors import SpecError
from dna_asic.technology import Technology, load_technology
from flows.openroad.predictive.lef import SITE, layer_geometry_um
from flows.openroad.predictive.model import GRID_UM, Model


@dataclass(frozen=True, kw_only=True)
class Strap:
    """One layer of the supply grid in um; pitch 0: along the cells' rails."""

    layer: str
    width: float
    pitch: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Lengths in um. rules: OpenROAD's extraction rules, relative to the platform's folder; empty: estimated wires.

    pin_layer carries the pins of a memory, horizontally, on tracks of pin_pitch; power_layer its supply stripes,
    vertically; blocked are the layers that it takes. straps: supply grid from the rails up, joined layer by layer.
    taps: (cell, distance), or none. rc_layers: of signals and of the clock.
    """

    node_nm: int
    site: str
    site_um: tuple[float, float]
    grid_um: float
    pin_layer: str
    pin_um: float
    pin_pitch_um: float
    power_layer: str
    power_um: float
    blocked: tuple[str, ...]
    straps: tuple[Strap, ...]
    signal_layers: tuple[str, str]
    io_layers: tuple[str, str]
    rc_layers: tuple[str, str]
    clock_buffer: str
    fillers: tuple[str, ...]
    power_pins: tuple[str, ...] = ("VDD",)
    ground_pins: tuple[str, ...] = ("VSS",)
    taps: tuple[str, float] | None = None
    rules: str = ""


# Sites, layers, straps and cells as the platforms' own config.mk, LEF and pdn files in OpenROAD-flow-scripts and
# OpenROAD/test have them.
LAYOUTS = {
    "nangate45": Layout(
        node_nm=45, site="FreePDK45_38x28_10R_NP_162NW_34O", site_um=(0.19, 1.4), grid_um=0.005,
        pin_layer="metal3", pin_um=0.07, pin_pitch_um=0.14, power_layer="metal4", power_um=0.28,
        blocked=("metal1", "metal2"), signal_layers=("metal2", "metal10"), io_layers=("metal3", "metal2"),
        rc_layers=("metal3", "metal6"), clock_buffer="BUF_X4",
        fillers=tuple(f"FILLCELL_X{n}" for n in (1, 2, 4, 8, 16, 32)),
        straps=(Strap(layer="metal1", width=0.17), Strap(layer="metal4", width=0.48, pitch=56.0),
                Strap(layer="metal7", width=1.4, pitch=40.0)), rules="rcx_patterns.rules"),
    "sky130hd": Layout(
        node_nm=130, site="unithd", site_um=(0.46, 2.72), grid_um=0.005, pin_layer="met3", pin_um=0.3,
        pin_pitch_um=0.68, power_layer="met4", power_um=1.6, blocked=("met1", "met2"), signal_layers=("met1", "met5"),
        io_layers=("met3", "met2"), rc_layers=("met3", "met5"), clock_buffer="sky130_fd_sc_hd__clkbuf_4",
        fillers=tuple(f"sky130_fd_sc_hd__fill_{n}" for n in (1, 2, 4, 8)), power_pins=("VDD", "VPWR", "VPB"),
        ground_pins=("VSS", "VGND", "VNB"), taps=("sky130_fd_sc_hd__tapvpwrvgnd_1", 14.0),
        straps=(Strap(layer="met1", width=0.48), Strap(layer="met4", width=1.6, pitch=27.14),
                Strap(layer="met5", width=1.6, pitch=27.2)), rules="rcx_patterns.rules"),
    "asap7": Layout(
        node_nm=7, site="asap7sc7p5t", site_um=(0.054, 0.27), grid_um=0.001, pin_layer="M4", pin_um=0.024,
        pin_pitch_um=0.048, power_layer="M5", power_um=0.12, blocked=("M1", "M2", "M3"), signal_layers=("M2", "M7"),
        io_layers=("M4", "M5"), rc_layers=("M3", "M5"), clock_buffer="BUFx4_ASAP7_75t_R",
        fillers=("FILLERxp5_ASAP7_75t_R", "FILLER_ASAP7_75t_R"), taps=("TAPCELL_ASAP7_75t_R", 25.0),
        straps=(Strap(layer="M1", width=0.018), Strap(layer="M2", width=0.018),
                Strap(layer="M5", width=0.12, pitch=5.4), Strap(layer="M6", width=0.288, pitch=5.4)),
        rules="rcx_patterns.rules"),
}


def layout_of(platform: str, technology: Technology) -> Layout:
    """Of a platform by its name; a predictive one is in proportion to its site. Raises SpecError for one without."""
    if platform.startswith("predictive"):
        return _predictive(technology)
    if platform not in LAYOUTS:
        raise SpecError(f"Platform '{platform}' has no layout data for place and route; use one of "
                        f"{', '.join(LAYOUTS)} or predictive.")
    return LAYOUTS[platform]


def layout_technology(layout: Layout) -> Technology:
    """The technology file of a layout's node."""
    return load_technology(f"asic-{layout.node_nm}nm")


def _predictive(technology):
    model = Model(technology)
    width, height = model.site_um
    pin_um, _, pin_pitch_um, _ = layer_geometry_um(model, 3)
    strap = layer_geometry_um(model, 4)[0]
    return Layout(
        node_nm=technology.node_nm, site=SITE, site_um=(width, height), grid_um=GRID_UM, pin_layer="metal3",
        pin_um=pin_um, pin_pitch_um=pin_pitch_um, power_layer="metal4", power_um=2 * strap,
        blocked=("metal1", "metal2"), signal_layers=("metal2", "metal7"), io_layers=("metal3", "metal2"),
        rc_layers=("metal3", "metal5"), clock_buffer="BUF_X4", fillers=("FILL_X1", "FILL_X2", "FILL_X4", "FILL_X8"),
        straps=(Strap(layer="metal1", width=strap), Strap(layer="metal4", width=4 * strap, pitch=40 * height),
                Strap(layer="metal7", width=layer_geometry_um(model, 7)[0] * 2, pitch=30 * height)))

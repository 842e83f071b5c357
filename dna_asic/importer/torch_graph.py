"""From a PyTorch module to a graph, by torch.export."""

import operator
import warnings

import numpy as np
import torch
from torch import Tensor, fx, nn

from dna_asic.errors import SpecError
from dna_asic.importer.graph import (
    NO_PADS,
    Add,
    Clamp,
    Concat,
    Conv,
    Graph,
    Linear,
    Node,
    Op,
    Pad,
    Pool,
    Rearrange,
    Softmax,
    Unsupported,
)
from dna_asic.importer.ops import SAME, arithmetic, batch_norm, cut, reshape
from dna_asic.importer.unsupported import lacking
from dna_asic.spec.layer import PoolOp

ONNX_NAMES = {"gelu": "Gelu", "silu": "Silu", "sigmoid": "Sigmoid", "tanh": "Tanh", "hardswish": "HardSwish",
              "hardsigmoid": "HardSigmoid", "leaky_relu": "LeakyRelu", "elu": "Elu", "prelu": "PRelu", "mish": "Mish",
              "layer_norm": "LayerNormalization", "group_norm": "GroupNormalization",
              "conv_transpose2d": "ConvTranspose", "instance_norm": "InstanceNormalization",
              "scaled_dot_product_attention": "Attention"}


def read_module(module: nn.Module, example: Tensor, name: str = "network") -> Graph:
    """The graph of `module` in evaluation on one image like those of `example` [N, C, H, W] or [N, features].

    Raises SpecError for a module that torch.export cannot take, or with all its operations that cannot be read.
    """
    if example.ndim not in (2, 4) or not len(example):
        raise SpecError(f"Example must be images [N, C, H, W] or vectors [N, features], not {list(example.shape)}.")
    training = module.training
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # FutureWarning of torch's own modules
            program = torch.export.export(module.eval(), (example[:1],)).run_decompositions({})
    except Exception as error:  # noqa: BLE001 - torch.export raises whatever the module does
        raise SpecError(f"Module '{name}': torch.export cannot take it: {str(error).strip().partition(chr(10))[0]}; "
                        f"write its forward without branches on data.") from error
    finally:
        module.train(training)
    return _Reader(program, name).graph()


class _Call:
    """One operation of an exported program: arguments, constants, shapes."""

    def __init__(self, node: fx.Node, constants: dict[str, Tensor]):
        self.node, self.constants = node, constants
        self.kind = node.target.overloadpacket.__name__ if hasattr(node.target, "overloadpacket") else str(node.target)
        names = [a.name for a in node.target._schema.arguments] if hasattr(node.target, "_schema") else []
        self.values = dict(zip(names, node.args)) | dict(node.kwargs)
        self.read = [n.name for n in node.all_input_nodes if n.name not in constants]

    def get(self, name: str, default=None):
        """An argument that is a number, list or flag."""
        value = self.values.get(name, default)
        return default if value is None else value

    def pair(self, name: str, default) -> tuple[int, int]:
        """An argument of one or two integers."""
        value = self.get(name, default)
        value = [value] if isinstance(value, int) else list(value) or list(default)
        return tuple(value * 2 if len(value) == 1 else value)

    def constant(self, name: str, default=None):
        """A constant tensor argument. Raises SpecError for one that is computed from the image."""
        value = self.values.get(name)
        if not isinstance(value, fx.Node):
            return default if value is None else np.asarray(value, dtype=np.float64)
        if value.name not in self.constants:
            raise SpecError(f"its {name} must be a constant; the chip multiplies by constant weights only.")
        return self.constants[value.name].detach().numpy()

    def is_constant(self, name: str) -> bool:
        """Whether an argument does not depend on the image."""
        value = self.values.get(name)
        return not isinstance(value, fx.Node) or value.name in self.constants

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor argument."""
        return tuple(self.values[name].meta["val"].shape)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the output; of the first one, if there are several."""
        value = self.node.meta["val"]
        return tuple((value[0] if isinstance(value, (tuple, list)) else value).shape)

    @property
    def path(self) -> str:
        """Where the operation stands in the module."""
        stack = self.node.meta.get("nn_module_stack") or {}
        return list(stack.values())[-1][0].removeprefix("L['self'].") if stack else ""

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.kind} '{self.node.name}'" + (f" in module '{self.path}'" if self.path else "")


def _conv(call: _Call) -> Op:
    weight, padding = call.constant("weight"), call.get("padding", [0])
    if weight.ndim != 4:
        raise SpecError(f"it convolves {weight.ndim - 2} axes; the chip convolves rows and columns: add an axis of 1.")
    dilation = call.pair("dilation", [1])
    if padding == "same":
        total = [(k - 1) * d for k, d in zip(weight.shape[2:], dilation, strict=True)]
        pads = (*(n // 2 for n in total), *(n - n // 2 for n in total))
    else:
        pads = (0, 0, 0, 0) if padding == "valid" else call.pair("padding", [0]) * 2
    return Conv(weight=weight, bias=call.constant("bias", np.zeros(len(weight))), stride=call.pair("stride", [1]),
                pads=pads, dilation=dilation, groups=call.get("groups", 1))


def _linear(call: _Call) -> Op:
    weight = call.constant("weight")
    return Linear(weight=weight, bias=call.constant("bias", np.zeros(len(weight))))


def _batch_norm(call: _Call) -> Op:
    mean, variance = call.constant("running_mean"), call.constant("running_var")
    return batch_norm(call.constant("weight", np.ones_like(mean)), call.constant("bias", np.zeros_like(mean)), mean,
                      variance, call.get("eps", 1e-5))


def _arithmetic(call: _Call) -> Op:
    """Addition of maps, or arithmetic with constants."""
    names = [n for n in ("self", "other") if call.is_constant(n)]
    if not names:
        if call.kind == "add" and call.get("alpha", 1) == 1:
            return Add()
        raise SpecError(f"the chip has no {call.kind} of two maps; only additions, and constants.")
    if call.get("alpha", 1) != 1 or names == ["self"] and call.kind in ("sub", "div"):
        raise SpecError("only the map itself can be added to, subtracted from, multiplied or divided by one constant.")
    return arithmetic(call.kind, call.constant(names[0]), call.out_shape)


def _relu(call: _Call) -> Op:
    return Clamp(0.0, float("inf"))


def _clamp(call: _Call) -> Op:
    low, high = ("min_val", "max_val") if call.kind == "hardtanh" else ("min", "max")
    defaults = (-1, 1) if call.kind == "hardtanh" else (-np.inf, np.inf)
    return Clamp(float(call.get(low, defaults[0])), float(call.get(high, defaults[1])))


def _pool(call: _Call) -> Op:
    if set(call.pair("dilation", [1])) != {1} or call.get("divisor_override") is not None:
        raise SpecError("it pools with gaps or a divisor of its own; the chip has windows of neighbouring pixels.")
    kernel = call.pair("kernel_size", [1])
    op = PoolOp.MAX if call.kind.startswith("max") else PoolOp.AVERAGE
    return Pool(op=op, kernel=kernel, stride=call.pair("stride", kernel), pads=call.pair("padding", [0]) * 2,
                counts_padding=bool(call.get("count_include_pad", True)))


def _adaptive(call: _Call) -> Op:
    (h, w), (p, q) = call.shape("self")[2:], call.out_shape[2:]
    if h % p or w % q:
        raise SpecError(f"its windows differ: {h}x{w} does not divide into {p}x{q}; the chip pools equal windows.")
    op = PoolOp.MAX if "max" in call.kind else PoolOp.AVERAGE
    return SAME if (h, w) == (p, q) else Pool(op=op, kernel=(h // p, w // q), stride=(h // p, w // q))


def _pad(call: _Call) -> Op:
    pads = [*call.get("pad"), 0, 0, 0, 0][:4]
    if call.get("value", 0) != 0 or call.get("mode", "constant") != "constant" or any(call.get("pad")[4:]):
        raise SpecError("it pads other than rows and columns with zeros; the chip pads with zeros only.")
    left, right, top, bottom = pads
    return Pad((top, left, bottom, right))


def _reshape(call: _Call) -> Op:
    return reshape(call.out_shape)


def _same(call: _Call) -> Op:
    return SAME


def _transpose(call: _Call) -> Op:
    a, b = call.get("dim0"), call.get("dim1")
    return Rearrange(lambda index: index.swapaxes(a, b))


def _permute(call: _Call) -> Op:
    order = tuple(call.get("dims"))
    return Rearrange(lambda index: index.transpose(order))


def _slice(call: _Call) -> Op:
    axis = call.get("dim", 0) % len(call.shape("self"))
    return cut(axis, call.get("start"), call.get("end"), call.get("step", 1))


def _concat(call: _Call) -> Op:
    if not all(n.name in call.read for n in call.get("tensors")):
        raise SpecError("it joins a map with a constant; put the constant into a bias.")
    return Concat(call.get("dim", 0))


def _softmax(call: _Call) -> Op:
    return Softmax()


READ = {
    "conv2d": _conv, "linear": _linear, "_native_batch_norm_legit_no_training": _batch_norm, "relu": _relu,
    "hardtanh": _clamp, "clamp": _clamp, "clamp_min": _clamp, "max_pool2d": _pool, "avg_pool2d": _pool,
    "adaptive_avg_pool2d": _adaptive, "adaptive_max_pool2d": _adaptive, "constant_pad_nd": _pad, "pad": _pad,
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "flatten", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("clone", "contiguous", "alias", "detach", "dropout", "_to_copy", "to"), _same),
    **dict.fromkeys(("add", "sub", "mul", "div"), _arithmetic), "transpose": _transpose, "permute": _permute,
    "slice": _slice, "cat": _concat, "softmax": _softmax, "_softmax": _softmax, "log_softmax": _softmax,
    "_log_softmax": _softmax,
}
SPLITS = ("split", "split_with_sizes", "chunk")
REDUCTIONS = {"mean": PoolOp.AVERAGE, "amax": PoolOp.MAX}


class _Reader:
    """Nodes so far."""

    def __init__(self, program, name: str):
        signature = program.graph_signature
        tensors = {**program.state_dict, **program.constants}
        named = {**signature.inputs_to_parameters, **signature.inputs_to_buffers,
                 **signature.inputs_to_lifted_tensor_constants}
        self.constants = {n: tensors[target] for n, target in named.items() if target in tensors}
        if len(signature.user_inputs) != 1 or len(signature.user_outputs) != 1:
            raise SpecError(f"Module '{name}' has {len(signature.user_inputs)} inputs and "
                            f"{len(signature.user_outputs)} outputs; the chip reads one image and gives one tensor.")
        self.program, self.name, self.nodes = program, name, []
        self.input, self.output = signature.user_inputs[0], signature.user_outputs[0]

    def graph(self) -> Graph:
        shape = ()
        for node in self.program.graph.nodes:
            if node.name == self.input:
                shape = tuple(node.meta["val"].shape[1:])
            elif node.op == "call_function" and node.users:
                self._read(node)
        return Graph(name=self.name, input=self.input, input_shape=shape, nodes=tuple(self.nodes), output=self.output)

    def _read(self, node: fx.Node) -> None:
        if node.target is operator.getitem:
            self._item(node)
            return
        call = _Call(node, self.constants)
        try:
            if call.kind in SPLITS:
                return  # each of its pieces is a getitem
            if call.kind in REDUCTIONS:
                self._reduce(call)
            elif call.kind in READ:
                self._append(call, READ[call.kind](call))
            else:
                raise SpecError(lacking(ONNX_NAMES.get(call.kind, call.kind), tuple(READ)))
        except SpecError as error:
            self._append(call, Unsupported(str(error)))

    def _append(self, call: _Call, op: Op, output=None, shape=None, source=None) -> None:
        inputs = call.read if isinstance(op, (Add, Unsupported)) else [source or call.read[0]]
        if isinstance(op, Concat):
            inputs = [n.name for n in call.get("tensors")]
        elif isinstance(op, Add):
            inputs = [call.values[n].name for n in ("self", "other")]
        output = output or call.node.name
        self.nodes.append(Node(name=call.path or output, place=call.place, op=op, inputs=tuple(inputs), output=output,
                               shape=shape or call.out_shape))

    def _item(self, node: fx.Node) -> None:
        """A piece of a split, or the first result of an operation that has several."""
        source, number = node.args
        whole, call = _Call(source, self.constants), _Call(node, self.constants)
        if whole.kind not in SPLITS:
            op = SAME if number == 0 else Unsupported("the chip gives one result; leave the others out.")
            self._append(call, op)
            return
        axis = whole.get("dim", 0) % len(whole.shape("self"))
        start = sum(piece.shape[axis] for piece in source.meta["val"][:number])
        self._append(call, cut(axis, start, start + call.out_shape[axis]), source=whole.read[0])

    def _reduce(self, call: _Call) -> None:
        """Pooling of the whole map, then a reshape where its axes are dropped."""
        given = call.shape("self")
        axes = sorted(a % len(given) for a in (call.get("dim") or range(len(given))))
        if axes != [2, 3] or len(given) != 4:
            raise SpecError(f"it reduces axes {axes} of {list(given)}; the chip reduces rows and columns (2 and 3) "
                            f"of a map.")
        pool = Pool(op=REDUCTIONS[call.kind], kernel=given[2:], stride=(1, 1), pads=NO_PADS)
        pooled = f"{call.node.name}:map"
        self._append(call, pool, pooled, (*given[:2], 1, 1))
        self._append(call, _reshape(call), source=pooled)

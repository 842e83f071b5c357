"""From an ONNX file to a graph: each operator, in every opset, to one node."""

from pathlib import Path

import numpy as np
from onnx import helper

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
    Pads,
    Pool,
    Quantise,
    Rearrange,
    Softmax,
    Unsupported,
)
from dna_asic.importer.onnx_file import OnnxFile
from dna_asic.importer.ops import SAME, arithmetic, batch_norm, cut, reshape
from dna_asic.importer.unsupported import lacking, listed
from dna_asic.spec.layer import PoolOp

TO_CHANNELS_FIRST = [0, 3, 1, 2]
INT8_ZERO = {np.dtype("int8"): 0, np.dtype("uint8"): 128}  # zero points of symmetric integers, by type


def read_onnx(path: Path | str) -> Graph:
    """The graph of an ONNX file. Raises SpecError: for a broken file, or with all its nodes that cannot be read."""
    return _Reader(OnnxFile(path)).graph()


class _Call:
    """One ONNX node: attributes, constant inputs, shapes."""

    def __init__(self, file: OnnxFile, proto, steps):
        self.kind, self.proto, self.file, self.steps = proto.op_type, proto, file, steps
        self.attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        self.inputs, self.outputs = list(proto.input), [name for name in proto.output if name]
        self.output = proto.output[0]
        self.place = f"{proto.op_type} node '{proto.name}' (output '{self.output}')"
        self.read = [name for name in self.inputs if name and name not in file.constants]

    def get(self, name: str, default=None):
        """An attribute."""
        return self.attributes.get(name, default)

    def constant(self, index: int, default=None):
        """A constant input. Raises SpecError for one that is computed from the image."""
        if index >= len(self.inputs) or not self.inputs[index]:
            return default
        if self.inputs[index] not in self.file.constants:
            raise SpecError(f"its input '{self.inputs[index]}' must be a constant; the chip multiplies by constant "
                            f"weights only.")
        return self.file.constants[self.inputs[index]]

    def setting(self, name: str, index: int, default=None):
        """An attribute in older opsets, a constant input in newer ones."""
        return self.attributes[name] if name in self.attributes else self.constant(index, default)

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Shape of an input."""
        return self.file.shapes[self.inputs[index]]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return self.file.shapes[self.output]

    def axes(self, index: int) -> list[int]:
        """Axes of a reduction, counted from the front; all but the batch if none are named."""
        rank = len(self.shape())
        return sorted(int(a) % rank for a in self.setting("axes", index, range(1, rank)))

    def step(self, index: int, count: int, axis: int = 0):
        """Float value [count] of one step of a quantised weight with outputs along `axis`, None for a float one."""
        if self.inputs[index] not in self.steps:
            return None
        step, given = self.steps[self.inputs[index]]
        if given not in (None, axis):
            raise SpecError(f"its weights have a scale along axis {given}; the chip has one per output channel.")
        return np.broadcast_to(step, (count,))


def _weight(call: _Call, index: int = 1) -> np.ndarray:
    weight = call.constant(index)
    if weight is None or not np.issubdtype(weight.dtype, np.floating):
        raise SpecError("its weights must be floating, or integers behind a DequantizeLinear.")
    return weight.astype(np.float32) if weight.dtype == np.float16 else weight


def _conv(call: _Call) -> Op:
    weight = _weight(call)
    if weight.ndim != 4:
        raise SpecError(f"it convolves {weight.ndim - 2} axes; the chip convolves rows and columns: add an axis of 1.")
    dilation = tuple(call.get("dilations", (1, 1)))
    if min(dilation) < 1:
        raise SpecError(f"its dilation {list(dilation)} must be at least 1.")
    window = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    return Conv(weight=weight, bias=call.constant(2, np.zeros(len(weight))), pads=_pads(call, window),
                stride=tuple(call.get("strides", (1, 1))), dilation=dilation, groups=call.get("group", 1),
                step=call.step(1, len(weight)))


def _pads(call: _Call, window) -> Pads:
    """Padding by attribute, or such that the output is the input divided by the stride."""
    auto = call.get("auto_pad", b"NOTSET").decode()
    if auto in ("NOTSET", "VALID"):
        return tuple(call.get("pads", NO_PADS)) if auto == "NOTSET" else NO_PADS
    pads = [max(0, (out - 1) * stride + size - given) for out, stride, size, given in
            zip(call.out_shape[2:], call.get("strides", (1, 1)), window, call.shape()[2:], strict=True)]
    before = [(n + (auto == "SAME_LOWER")) // 2 for n in pads]
    return (*before, *(n - b for n, b in zip(pads, before, strict=True)))


def _gemm(call: _Call) -> Op:
    if call.get("transA", 0):
        raise SpecError("it transposes the image's vector; set transA=0.")
    alpha, beta, transposed = call.get("alpha", 1.0), call.get("beta", 1.0), call.get("transB", 0)
    weight = _weight(call) if transposed else _weight(call).T
    bias = np.broadcast_to(call.constant(2, np.zeros(1)), (1, len(weight)))[0]
    step = call.step(1, len(weight), 0 if transposed else 1)
    return Linear(weight=alpha * weight, bias=beta * bias, step=None if step is None else alpha * step)


def _matmul(call: _Call) -> Op:
    weight = _weight(call)
    if weight.ndim != 2 or len(call.shape()) != 2:
        raise SpecError(f"it multiplies {list(call.shape())} by {list(weight.shape)}; only a vector [1, F] by a "
                        f"constant matrix is a layer: flatten before.")
    return Linear(weight=weight.T, bias=np.zeros(weight.shape[1]), step=call.step(1, weight.shape[1], 1))


def _batch_norm(call: _Call) -> Op:
    return batch_norm(*(call.constant(i) for i in range(1, 5)), call.get("epsilon", 1e-5))


def _arithmetic(call: _Call) -> Op:
    """Add and Sum of maps, or Add, Sub, Mul, Div with constants per channel."""
    if len(call.read) == len(call.inputs):
        if call.kind in ("Add", "Sum"):
            return Add()
        raise SpecError(f"the chip has no {call.kind} of two maps; only additions, and constants.")
    if len(call.inputs) != 2 or call.kind in ("Sub", "Div") and call.inputs[0] != call.read[0]:
        raise SpecError("only the map itself can be added to, subtracted from, multiplied or divided by one constant.")
    value = call.constant(1 if call.inputs[0] == call.read[0] else 0)
    return arithmetic("add" if call.kind == "Sum" else call.kind.lower(), value, call.out_shape)


def _relu(call: _Call) -> Op:
    return Clamp(0.0, float("inf"))


def _clip(call: _Call) -> Op:
    low, high = call.setting("min", 1, -np.inf), call.setting("max", 2, np.inf)
    return Clamp(float(low), float(high))


def _pool(call: _Call) -> Op:
    kernel = tuple(call.get("kernel_shape"))
    if len(kernel) != 2 or set(call.get("dilations", (1, 1))) != {1}:
        raise SpecError("it pools other than rows and columns without gaps; the chip has windows of neighbouring "
                        "pixels.")
    return Pool(op=PoolOp.MAX if call.kind == "MaxPool" else PoolOp.AVERAGE, kernel=kernel,
                stride=tuple(call.get("strides", (1, 1))), pads=_pads(call, kernel),
                counts_padding=bool(call.get("count_include_pad", 0)))


def _global_pool(call: _Call) -> Op:
    kernel = call.shape()[2:]
    if len(kernel) != 2:
        raise SpecError(f"it pools {list(call.shape())}; the chip pools rows and columns.")
    op = PoolOp.MAX if call.kind in ("GlobalMaxPool", "ReduceMax") else PoolOp.AVERAGE
    return Pool(op=op, kernel=kernel, stride=(1, 1))


def _reduce(call: _Call) -> Op:
    if call.axes(1) != [2, 3]:
        raise SpecError(f"it reduces axes {call.axes(1)} of {list(call.shape())}; the chip reduces rows and columns "
                        f"(2 and 3) of a map.")
    return _global_pool(call)


def _pad(call: _Call) -> Op:
    pads, value = np.asarray(call.setting("pads", 1)), call.setting("value", 2, 0)
    if call.constant(3) is not None:
        raise SpecError("it pads named axes; name all of them.")
    whole = pads.reshape(2, -1)
    if call.get("mode", b"constant") != b"constant" or float(np.asarray(value)) != 0 or whole.shape[1] != 4 or (
            whole[:, :2].any()):
        raise SpecError("it pads other than rows and columns with zeros; the chip pads with zeros only.")
    return Pad(tuple(int(n) for n in whole[:, 2:].ravel()))


def _reshape(call: _Call) -> Op:
    return reshape(call.out_shape)


def _transpose(call: _Call) -> Op:
    order = call.get("perm", tuple(reversed(range(len(call.shape())))))
    return Rearrange(lambda index: index.transpose(order))


def _slice(call: _Call) -> Op:
    shape, starts = call.shape(), np.asarray(call.setting("starts", 1)).tolist()
    axes = call.setting("axes", 3, range(len(starts)))
    steps = call.constant(4, np.ones(len(starts), int)).tolist()
    cuts = [slice(None)] * len(shape)
    for axis, start, end, step in zip(axes, starts, np.asarray(call.setting("ends", 2)).tolist(), steps, strict=True):
        if step < 0:
            raise SpecError("it counts backwards; slice forwards.")
        cuts[int(axis)] = slice(start, end, step)
    return Rearrange(lambda index: index[tuple(cuts)])


def _gather(call: _Call) -> Op:
    chosen, axis = call.constant(1), call.get("axis", 0)
    return Rearrange(lambda index: np.take(index, chosen, axis=axis))


def _same(call: _Call) -> Op:
    return SAME


def _softmax(call: _Call) -> Op:
    return Softmax()


def _quantise(call: _Call) -> Op:
    scale, zero = call.constant(1), call.constant(2, np.zeros(1, np.uint8))
    if scale.size != 1 or not 0 < float(scale.ravel()[0]) < np.inf:
        raise SpecError("it has no scale, or one per channel; activations have one above 0.")
    if int(zero.ravel()[0]) != INT8_ZERO.get(zero.dtype):
        raise SpecError(f"its zero point is {int(zero.ravel()[0])} ({zero.dtype}); the chip's int8 is symmetric: "
                        f"quantise with zero point 0 of int8 (onnxruntime: ActivationSymmetric, QInt8).")
    return Quantise(float(scale.ravel()[0]))


def _concat(call: _Call) -> Op:
    if len(call.read) < len(call.inputs):
        raise SpecError("it joins a map with a constant; put the constant into a bias.")
    return Concat(call.get("axis", 1))


READ = {
    "Conv": _conv, "Gemm": _gemm, "MatMul": _matmul, "BatchNormalization": _batch_norm, "Add": _arithmetic,
    "Sum": _arithmetic, "Sub": _arithmetic, "Mul": _arithmetic, "Div": _arithmetic, "Relu": _relu, "Clip": _clip,
    "MaxPool": _pool, "AveragePool": _pool, "GlobalAveragePool": _global_pool, "GlobalMaxPool": _global_pool,
    "ReduceMean": _reduce, "ReduceMax": _reduce, "Pad": _pad, "Reshape": _reshape, "Flatten": _reshape,
    "Squeeze": _reshape, "Unsqueeze": _reshape, "Transpose": _transpose, "Slice": _slice, "Gather": _gather,
    "Concat": _concat, "Softmax": _softmax, "LogSoftmax": _softmax, "QuantizeLinear": _quantise,
    "Dropout": _same, "Identity": _same, "Cast": _same,
}
KNOWN = (*READ, "Split", "DequantizeLinear")


class _Reader:
    """Nodes so far; steps: of quantised weights, by the name of the constant; scales: of quantised maps."""

    def __init__(self, file: OnnxFile):
        self.file, self.nodes, self.steps, self.scales = file, [], {}, {}
        self.known = {file.input}

    def graph(self) -> Graph:
        for proto in self.file.nodes:
            self._read(_Call(self.file, proto, self.steps))
        file = self.file
        reasons = [(n.place, n.op.reason) for n in self.nodes if isinstance(n.op, Unsupported)]
        unknown = [n for n in self.nodes if not n.shape]
        if unknown:
            raise SpecError(listed(reasons) or f"{unknown[0].place}: the shape of its output cannot be inferred; "
                            f"export the model with fixed shapes.")
        shape, last = file.input_shape, self._channels_last()
        return Graph(name=file.name, input=file.input, input_shape=(shape[2], *shape[:2]) if last else shape,
                     nodes=tuple(self.nodes), output=file.output, channels_last=last)

    def _channels_last(self) -> bool:
        """Whether the image, or what has its shape, is turned to channels first: exports of TensorFlow."""
        image = self.file.shapes[self.file.input]
        return any(node.op_type == "Transpose" and self.file.shapes.get(node.input[0]) == image
                   and _Call(self.file, node, {}).get("perm") == TO_CHANNELS_FIRST for node in self.file.nodes)

    def _read(self, call: _Call) -> None:
        missing = [name for name in call.read if name not in self.known]
        if missing:
            raise SpecError(f"{call.place}: it reads '{missing[0]}', which no earlier node makes.")
        special = {"DequantizeLinear": self._dequantise, "Split": self._split, "ReduceMean": self._reduce,
                   "ReduceMax": self._reduce}
        try:
            if call.proto.domain not in ("", "ai.onnx") or call.kind not in KNOWN:
                raise SpecError(lacking(call.kind, KNOWN))
            if not call.read and call.kind != "DequantizeLinear":
                raise SpecError("it computes with constants alone; simplify the model first (onnxsim).")
            if any(name not in self.file.shapes for name in (*call.read, *call.outputs)):
                self._append(call, SAME)  # behind an unknown operator, which is reported
            elif call.kind in special:
                special[call.kind](call)
            else:
                self._append(call, READ[call.kind](call))
        except SpecError as error:
            for output in call.outputs:
                self._append(call, Unsupported(str(error)), output)

    def _append(self, call, op, output=None, shape=None, source=None):
        output = output or call.output
        self.known.add(output)
        inputs = call.read if isinstance(op, (Add, Concat, Unsupported)) else [source or call.read[0]]
        self.nodes.append(Node(name=call.proto.name or output, place=call.place, op=op, inputs=tuple(inputs),
                               output=output, shape=shape or self.file.shapes.get(output, ())))
        if isinstance(op, Quantise):
            self.scales[output] = op.scale

    def _split(self, call: _Call) -> None:
        """One Rearrange per output."""
        axis, start = call.get("axis", 0) % len(call.shape()), 0
        for output in call.outputs:
            end = start + self.file.shapes[output][axis]
            self._append(call, cut(axis, start, end), output)
            start = end

    def _reduce(self, call: _Call) -> None:
        """Pooling, then a reshape where the axes are dropped."""
        op, shape = _reduce(call), (*call.shape()[:2], 1, 1)
        if call.out_shape == shape:
            self._append(call, op)
            return
        self._append(call, op, f"{call.output}:map", shape)
        self._append(call, _reshape(call), source=f"{call.output}:map")

    def _dequantise(self, call: _Call) -> None:
        """A constant in integers becomes one in floats, and its step is kept; of a map the scale is known already."""
        if not call.read:
            values, self.steps[call.output] = _dequantised(call)
            self.file.constants[call.output] = values
        elif float(call.constant(1)) != self.scales.get(call.read[0]):
            raise SpecError("its scale is not that of the QuantizeLinear before it.")
        else:
            self.scales[call.output] = self.scales[call.read[0]]
            self._append(call, SAME)


def _dequantised(call: _Call) -> tuple[np.ndarray, tuple[np.ndarray, int | None]]:
    """(values, (step [1] or [n], axis of its n channels))."""
    values, scale, zero = (call.constant(i) for i in range(3))
    axis = call.get("axis", 1) % max(1, values.ndim) if scale.size > 1 else None
    shape = [-1 if i == axis else 1 for i in range(values.ndim)]
    step = scale.astype(np.float64)
    integers = values.astype(np.int64) - (0 if zero is None else zero.astype(np.int64).reshape(shape))
    if not (np.isfinite(step).all() and (step > 0).all()):
        raise SpecError("its scales must be above 0; quantise the model again.")
    if values.dtype.itemsize == 1 and np.abs(integers).max(initial=0) > 128:
        raise SpecError("its integers less their zero point exceed int8; quantise weights with zero point 0.")
    return integers * step.reshape(shape), (step.ravel(), axis)

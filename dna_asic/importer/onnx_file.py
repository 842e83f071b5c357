"""An ONNX file as a checked model with static shapes and folded constants; nothing of a hostile file runs or allocates.

Sizes are checked by what the file claims before anything of that size exists; external data must lie in the model's
folder.
"""

import math
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, external_data_helper, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from dna_asic.errors import SpecError
from dna_asic.importer.graph import MAX_CONSTANT_BYTES

LOWEST_OPSET = 7
TYPES = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BOOL, TensorProto.UINT8,
                   TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64})
# Operators that are computed when all their inputs are constants. Their outputs' sizes follow from their inputs' by
# shape inference.
FOLDED = frozenset({"Constant", "ConstantOfShape", "Shape", "Identity", "Reshape", "Transpose", "Unsqueeze", "Squeeze",
                    "Cast", "Gather", "Concat", "Slice", "Add", "Sub", "Mul", "Div", "Sqrt", "Neg", "Reciprocal",
                    "Floor", "Flatten"})


class OnnxFile:
    """The model of `path`. constants: initialisers and what follows from them; shapes: of every tensor, batch 1.

    nodes: the others, in order. Raises SpecError for a file that is no ONNX model or asks for too much.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.subject = f"Model '{self.path}'"
        model = self._load()
        self.opset = self._opset(model)
        self.name, self.output = self.path.stem, self._single_output(model)
        self._check_claims(model.graph)
        self._load_external(model)
        self.input = self._fix_batch(model)
        self._check(model)
        self.shapes = self._infer(model)
        self.constants: dict[str, np.ndarray] = {}
        self._bytes = 0
        for tensor in model.graph.initializer:
            self._keep(tensor.name, numpy_helper.to_array(tensor))
        self.nodes = self._fold(model)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one image: (C, H, W) or (features,)."""
        return self.shapes[self.input][1:]

    def _load(self):
        if not self.path.is_file():
            raise SpecError(f"{self.subject} is not a file; give the path of an .onnx file.")
        size = self.path.stat().st_size
        if not 0 < size <= MAX_CONSTANT_BYTES:
            raise SpecError(f"{self.subject} has {size} bytes, and must have 1..{MAX_CONSTANT_BYTES}.")
        try:
            model = onnx.load(str(self.path), load_external_data=False)
        except (DecodeError, ValueError) as error:
            raise SpecError(f"{self.subject} is no whole ONNX file ({error}); export or copy it again.") from error
        if not model.graph.node or not model.graph.output:
            raise SpecError(f"{self.subject} has no network in it; export it again.")
        if not all(isinstance(text, str) for text in _names(model.graph)):  # bytes that are no UTF-8
            raise SpecError(f"{self.subject} has names that are no text; export or copy it again.")
        return model

    def _opset(self, model) -> int:
        highest = onnx.defs.onnx_opset_version()
        version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
        if version is None or not LOWEST_OPSET <= version <= highest:
            raise SpecError(f"{self.subject} must have an opset in {LOWEST_OPSET}..{highest}, not {version}; export it "
                            f"with opset_version=18.")
        return version

    def _single_output(self, model) -> str:
        if len(model.graph.output) != 1:
            raise SpecError(f"{self.subject} has {len(model.graph.output)} outputs "
                            f"({', '.join(o.name for o in model.graph.output)}); export it with one, or cut it "
                            f"by onnx.utils.extract_model.")
        return model.graph.output[0].name

    def _check_claims(self, graph) -> None:
        """What the constants say of themselves, before any of them is read."""
        claimed, faults = 0, []
        for tensor in graph.initializer:
            if tensor.data_type not in TYPES or min(tensor.dims, default=0) < 0:
                faults.append(f"constant '{tensor.name}' has type {tensor.data_type} and dimensions "
                              f"{list(tensor.dims)}; use float32, int8 or int32.")
            else:
                claimed += _claimed_bytes(tensor)
        if graph.sparse_initializer:
            faults.append("it has sparse constants; export them dense.")
        faults += [f"node '{node.name}' has a constant outside the file; keep it as an initialiser."
                   for node in graph.node for a in node.attribute if external_data_helper.uses_external_data(a.t)]
        if faults:
            raise SpecError("\n".join(f"{self.subject}: {fault}" for fault in faults))
        self._require_bytes(claimed)

    def _load_external(self, model) -> None:
        folder = self.path.resolve().parent
        for tensor in filter(external_data_helper.uses_external_data, model.graph.initializer):
            try:
                self._check_external(tensor, folder)
                external_data_helper.load_external_data_for_tensor(tensor, str(folder))
            except (ValueError, OSError, onnx.checker.ValidationError) as error:
                raise SpecError(f"{self.subject}: constant '{tensor.name}' cannot be read: "
                                f"{_first_line(error)}") from error

    def _check_external(self, tensor, folder: Path) -> None:
        info = external_data_helper.ExternalDataInfo(tensor)
        file, subject = folder / info.location, f"{self.subject}: constant '{tensor.name}'"
        if not info.location or file.resolve() != file or not file.is_relative_to(folder):
            raise SpecError(f"{subject} lies in '{info.location}', outside the model's folder or behind a link; put "
                            f"its data beside the model.")
        offset, length = info.offset or 0, _claimed_bytes(tensor)
        size = file.stat().st_size if file.is_file() else 0
        given = size - offset if info.length is None else info.length
        if given != length or offset + length > size:
            raise SpecError(f"{subject} needs {length} bytes of '{info.location}', which gives {given} of its {size}; "
                            f"copy the model again with its data.")

    def _fix_batch(self, model) -> str:
        """The name of the only input that is no constant; its symbolic batch becomes 1."""
        known = {t.name for t in model.graph.initializer}
        read = {name for node in model.graph.node for name in node.input}
        inputs = [i for i in model.graph.input if i.name not in known and i.name in read]
        if len(inputs) != 1:
            raise SpecError(f"{self.subject} has {len(inputs)} inputs ({', '.join(i.name for i in inputs)}); the chip "
                            f"reads one image.")
        dims = inputs[0].type.tensor_type.shape.dim
        if dims and dims[0].dim_value < 1:
            batch = dims[0].dim_param
            for value in (inputs[0], *model.graph.output, *model.graph.value_info):
                for dim in value.type.tensor_type.shape.dim:
                    if dim.dim_param == batch and batch:
                        dim.dim_value = 1
                    elif dim.dim_value < 0:  # PaddlePaddle's word for unknown
                        dim.ClearField("dim_value")
            dims[0].dim_value = 1
        shape = [d.dim_value or d.dim_param or "?" for d in dims]
        if len(shape) not in (2, 4) or not all(isinstance(d, int) and d > 0 for d in shape):
            raise SpecError(f"{self.subject}: input '{inputs[0].name}' has shape {_list(shape)}; it must be "
                            f"[1, channels, height, width] or [1, features] in numbers: export it without "
                            f"dynamic axes, or fix them by onnxruntime.tools.make_dynamic_shape_fixed.")
        if shape[0] != 1:
            raise SpecError(f"{self.subject}: input '{inputs[0].name}' is a batch of {shape[0]}; export it with one "
                            f"image.")
        return inputs[0].name

    def _check(self, model) -> None:
        try:
            onnx.checker.check_model(model)
        except (onnx.checker.ValidationError, ValueError) as error:
            if _all_known(model):  # else they are named with their places
                raise SpecError(f"{self.subject} is not valid ONNX: {_first_line(error)}; export it again.") from error

    def _infer(self, model) -> dict[str, tuple[int, ...]]:
        try:
            inferred = shape_inference.infer_shapes(model, strict_mode=_all_known(model), data_prop=True)
        except (shape_inference.InferenceError, ValueError) as error:
            raise SpecError(f"{self.subject} has shapes that cannot be inferred: {_first_line(error)}; export it "
                            f"again.") from error
        graph, shapes = inferred.graph, {t.name: tuple(t.dims) for t in inferred.graph.initializer}
        for value in (*graph.input, *graph.value_info, *graph.output):
            dims = value.type.tensor_type.shape.dim
            if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
                shapes.setdefault(value.name, tuple(d.dim_value for d in dims))
        return shapes

    def _keep(self, name: str, values: np.ndarray) -> None:
        self._bytes += values.nbytes
        self._require_bytes(self._bytes)
        self.constants[name] = values

    def _require_bytes(self, count: float) -> None:
        if count > MAX_CONSTANT_BYTES:
            raise SpecError(f"{self.subject} claims {count / 1e9:.3g} GB of constants; at most "
                            f"{MAX_CONSTANT_BYTES / 1e9:.3g} GB are read.")

    def _fold(self, model) -> list:
        """The nodes that depend on the image. The others may compute sizes: shapes are inferred again with these."""
        nodes = list(model.graph.node)
        while True:
            rest = []
            for node in nodes:
                if not self._folds(node):
                    rest.append(node)
                elif (values := self.constants[node.output[0]]).dtype == np.int64:
                    node.CopyFrom(helper.make_node("Constant", [], node.output, value=numpy_helper.from_array(values)))
            unknown = any(name not in self.shapes for node in rest for name in filter(None, node.output))
            if not unknown or len(rest) == len(nodes):
                return rest
            self.shapes, nodes = self._infer(model), rest

    def _folds(self, node) -> bool:
        """Compute a node of constants; False for one that depends on the image."""
        if node.op_type == "Shape" and node.input[0] in self.shapes:
            inputs = {node.input[0]: np.broadcast_to(np.float32(0), self.shapes[node.input[0]])}
        else:
            inputs = {name: self.constants[name] for name in node.input if name in self.constants}
            if node.op_type not in FOLDED or node.domain or len(inputs) < len(set(filter(None, node.input))):
                return False
        for name in node.output:
            if name not in self.shapes:
                return False
            self._require_bytes(self._bytes + 8 * math.prod(map(float, self.shapes[name])))
        values = self._evaluate(node, inputs)
        for name, value in zip(node.output, values, strict=True):
            self._keep(name, np.asarray(value))
        return True

    def _evaluate(self, node, inputs):
        graph = helper.make_graph([node], "constant", [helper.make_tensor_value_info(n, 0, None) for n in inputs],
                                  [helper.make_tensor_value_info(n, 0, None) for n in node.output])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        try:
            return ReferenceEvaluator(model).run(None, inputs)
        except Exception as error:  # noqa: BLE001 - the library raises whatever NumPy does
            raise SpecError(f"{self.subject}: node '{node.name}' (output '{node.output[0]}') cannot be computed: "
                            f"{_first_line(error)}") from error


def _names(graph):
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
    yield from (x.name for x in (*graph.initializer, *graph.input, *graph.output, *graph.value_info))


def _all_known(model) -> bool:
    """Whether ONNX itself has every operator of the model."""
    return all(onnx.defs.has(node.op_type, node.domain) for node in model.graph.node)


def _claimed_bytes(tensor) -> int:
    """Bytes that a TensorProto says it has."""
    return math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _first_line(error) -> str:
    return str(error).strip().partition("\n")[0]


def _list(shape) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"

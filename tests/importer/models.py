"""Networks for these tests: other people's structures with seeded weights, and how onnxruntime sees them."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"  # made by the ONNX project; constants for weights


def light(name: str, folder: Path, seed: int = 0) -> Path:
    """A light model of the ONNX package with random weights in the place of its constants."""
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    rng = np.random.default_rng(seed)
    shapes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    rest = []
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            values = _weights(shapes[node.input[0]], rng)
            model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
        else:
            rest.append(node)
    variances = {node.input[4] for node in rest if node.op_type == "BatchNormalization"}
    for tensor in model.graph.initializer:
        if tensor.name in variances:
            tensor.CopyFrom(numpy_helper.from_array(np.abs(numpy_helper.to_array(tensor)) + 0.5, tensor.name))
    del model.graph.node[:]
    model.graph.node.extend(rest)
    model.ir_version = 8  # initialisers need not be inputs
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def _weights(shape, rng) -> np.ndarray:
    fan_in = np.prod(shape[1:]) if len(shape) > 1 else 1
    return rng.normal(size=shape) * (2 / fan_in) ** 0.5 if len(shape) > 1 else rng.uniform(0.1, 1, shape)


def run_onnx(path: Path, images: np.ndarray) -> np.ndarray:
    """What onnxruntime gives for images [N, ...], one by one, without optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in images])


def make(nodes, shape, constants: dict, opset: int = 17) -> onnx.ModelProto:
    """A model from x of `shape` to y, with arrays of constants by name."""
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in (("x", shape), ("y", None)))
    graph = helper.make_graph(nodes, "test", [x], [y], [numpy_helper.from_array(np.asarray(v), n)
                                                        for n, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[
        helper.make_opsetid("", opset), helper.make_opsetid("com.example", 1)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def save(path: Path, nodes, shape, constants: dict, opset: int = 17) -> Path:
    """The file of `make`."""
    onnx.save(make(nodes, shape, constants, opset), path)
    return path

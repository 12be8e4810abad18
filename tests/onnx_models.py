"""Small ONNX models of the shapes that insightface expects, whose weights are set by hand: their answers are known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FIVE = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)])
"""Where the five points lie in a box, as shares of its sides."""

Shape = Sequence[int | str]


class Graph:
    """Nodes and weights, one after the other."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, values: NDArray[np.floating] | NDArray[np.int64]) -> str:
        name = f"w{len(self.weights)}"
        kept = values if values.dtype == np.int64 else values.astype(np.float32)
        self.weights.append(numpy_helper.from_array(kept, name))
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def conv(self, source: str, weight: NDArray[np.floating], bias: float = 0.0, **attributes: Any) -> str:
        names = self.constant(weight), self.constant(np.full(len(weight), bias))
        return self.add("Conv", source, *names, **attributes)

    def save(self, path: Path, shape: Shape, outputs: Sequence[tuple[str, Shape]]) -> Path:
        picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in outputs]
        graph = helper.make_graph(self.nodes, "graph", [picture], values, self.weights)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
        return path


def scrfd(path: Path, stride: int = 8, points: bool = True, reach: int = 320) -> Path:
    """A detector that boxes red rectangles exactly: at each anchor it counts red pixels to the four sides.

    The score is red less green, as a share of 255; blue counts for nothing.

    Args:
        path: where to write it.
        stride: 8, 16 or 32: the level that finds them; the scores of the others are zero.
        points: whether the five points come along, at the shares `FIVE` of the box.
        reach: how far it counts, in pixels of the network's input.
    """
    graph = Graph()
    red = np.array([128 / 255, 0, 0]).reshape(1, 3, 1, 1)  # insightface: (value - 127.5) / 128
    red_share = graph.conv("picture", red, 127.5 / 255)
    scores, boxes, fives = [], [], []
    for level in (8, 16, 32):
        seen = graph.conv("picture", (level == stride) * (red - red[:, [1, 0, 2]]), strides=[level, level])
        scores.append(
            (_rows(graph, [seen, graph.add("Mul", seen, graph.constant(np.array([0.9])))], 1), (f"n{level}", 1))
        )
        across, down = np.full((1, 1, 1, reach), 1 / level), np.full((1, 1, reach, 1), 1 / level)
        far = reach - 1  # the anchor's own pixel is counted on both sides, so once too often
        sides = [
            graph.conv(red_share, weight, bias, strides=[level, level], pads=pads)
            for weight, bias, pads in (
                (across, -1 / level, [0, far, 0, 0]),
                (down, -1 / level, [far, 0, 0, 0]),
                (across, 0.0, [0, 0, 0, far]),
                (down, 0.0, [0, 0, far, 0]),
            )
        ]
        box = graph.add("Concat", *sides, axis=1)
        boxes.append((_rows(graph, [box, box], 4), (f"n{level}", 4)))
        to_points = np.zeros((10, 4))
        for i, (x, y) in enumerate(FIVE):  # -left + x (left + right), and so on downwards
            to_points[2 * i, [0, 2]], to_points[2 * i + 1, [1, 3]] = (x - 1, x), (y - 1, y)
        five = graph.conv(box, to_points[:, :, None, None])
        fives.append((_rows(graph, [five, five], 10), (f"n{level}", 10)))
    return graph.save(path, [1, 3, "h", "w"], scores + boxes + fives * points)


def _rows(graph: Graph, anchors: Sequence[str], size: int) -> str:
    """Two anchors' (1, C, h, w) -> (h * w * 2, C)."""
    last = graph.add("Transpose", graph.add("Concat", *anchors, axis=1), perm=[0, 2, 3, 1])
    return graph.add("Reshape", last, graph.constant(np.array([-1, size])))


def recognition(path: Path, matrix: NDArray[np.floating]) -> Path:
    """(112, 112) pixels -> 7 x 7 means of each colour -> a (147, D) matrix."""
    graph = Graph()
    means = graph.add("Flatten", graph.add("AveragePool", "picture", kernel_shape=[16, 16], strides=[16, 16]))
    return graph.save(
        path, ["n", 3, 112, 112], [(graph.add("MatMul", means, graph.constant(matrix)), [1, matrix.shape[1]])]
    )


def landmarks(path: Path, points: NDArray[np.floating], red_depth: float = 0.0) -> Path:
    """1103 vertices of which the last 68 are those given, wherever the face is; z grows with the crop's mean red."""
    vertices = np.full((1103, 3), 7.0)
    vertices[-68:] = points
    weight = np.zeros((3, 1103, 3))
    weight[0, :, 2] = red_depth
    graph = Graph()
    means = graph.add("Flatten", graph.add("GlobalAveragePool", "picture"))
    answer = graph.add("Gemm", means, graph.constant(weight.reshape(3, -1)), graph.constant(vertices.reshape(1, -1)))
    return graph.save(path, ["n", 3, 192, 192], [(answer, ["n", 3309])])

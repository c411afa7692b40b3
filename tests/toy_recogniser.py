"""A tiny ONNX model with SFace's interface, and a five-point detector, for coloured squares."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dfercli.faces.detect import Faces

RED, BLUE, GREEN = (200, 90, 80), (70, 90, 190), (60, 160, 70)
BLOCK_PX, NUMBERS = 28, 128
# Of the five points in a face, from its upper left corner, in sides.
POINTS = np.float32([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]])


def write_toy_recogniser(path: Path) -> Path:
    """Write a network that turns a face (1, 3, 112, 112) into 128 numbers by its colour."""
    pool = {"kernel_shape": [BLOCK_PX] * 2, "strides": [BLOCK_PX] * 2}
    count = 3 * (112 // BLOCK_PX) ** 2
    weights = np.random.default_rng(0).normal(size=(count, NUMBERS)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["data"], ["pooled"], **pool),
            helper.make_node("Flatten", ["pooled"], ["flat"], axis=1),
            helper.make_node("Gemm", ["flat", "weights", "middle"], ["fc1"]),
        ],
        "toy",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, NUMBERS])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(-128 * weights.sum(axis=0), "middle"),  # grey is nothing
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


class SquareDetector:
    """Finds red, blue and green squares in pictures, even in compressed ones."""

    name = "yunet"
    batch_size = 1
    smallest_face_px = 1000
    new_track_score = 0.8

    def detect(self, images):
        return [self._one(image) for image in images]

    def _one(self, image):
        corners = []
        for colour in (RED, BLUE, GREEN):
            far = np.abs(image.astype(np.int16) - colour).max(axis=2)
            rows, columns = np.nonzero(far < 40)
            if len(rows) > 1000:
                corners.append([np.median(columns), np.median(rows), np.sqrt(len(rows)) / 2])
        boxes = np.array([[x - r, y - r, x + r, y + r] for x, y, r in corners], np.float32)
        boxes = boxes.reshape(-1, 4)
        sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
        points = boxes[:, None, :2] + POINTS * sides
        return Faces(boxes, np.full(len(boxes), 0.9, np.float32), points.astype(np.float32))


def squares(*drawn, size=(180, 320)):
    """A grey picture with squares (left, top, side, colour)."""
    image = np.full((*size, 3), 120, np.uint8)
    for left, top, side, colour in drawn:
        image[top : top + side, left : left + side] = colour
    return image

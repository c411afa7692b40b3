"""How many annotated faces each detector finds, and how fast.

Reads a folder of photographs with dlib's `training.xml` and `testing.xml` beside them, and a
folder of weights. A face counts as found if a detection scored above 0.6 overlaps it with an
intersection over union above 0.3; other detections are false.

    python benchmarks/face_detectors.py ../shared/media/faces_with_boxes ../shared/weights
"""

import argparse
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np

from dfercli.faces.build import DetectorChoice, build_detector
from dfercli.faces.detect import Detector
from dfercli.video.images import read_image

MIN_IOU = 0.3
MIN_SCORE = 0.6
WEIGHTS = {"yunet": "yunet_s_640_640.onnx", "haar": None, "blazeface": "blazefaceback.pth"}


def annotated_boxes(folder: Path) -> dict[str, np.ndarray]:
    """File name -> (n, 4) left, top, right, bottom."""
    boxes: dict[str, list[list[float]]] = {}
    for name in ("training.xml", "testing.xml"):
        for image in ElementTree.parse(folder / name).getroot().iter("image"):
            rows = boxes.setdefault(Path(image.attrib["file"]).name, [])
            for box in image.iter("box"):
                x, y, w, h = (float(box.attrib[key]) for key in ("left", "top", "width", "height"))
                rows.append([x, y, x + w, y + h])
    return {name: np.array(rows).reshape(-1, 4) for name, rows in boxes.items()}


def iou_matrix(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n, m) intersection over union of boxes."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (one, other)]
    return common / (areas[0][:, None] + areas[1][None] - common)


def count(detector: Detector, folder: Path) -> tuple[int, int, int, float]:
    """Annotated faces, found, false detections, milliseconds per picture."""
    total = found = false = 0
    seconds = 0.0
    boxes = annotated_boxes(folder)
    for name, truth in boxes.items():
        image = read_image(folder / name)
        begun = time.perf_counter()
        faces = detector.detect([image])[0]
        seconds += time.perf_counter() - begun
        overlaps = iou_matrix(truth, faces.box_xyxy_px[faces.score > MIN_SCORE])
        total += len(truth)
        found += int((overlaps.max(axis=1, initial=0) > MIN_IOU).sum())
        false += int((overlaps.max(axis=0, initial=0) <= MIN_IOU).sum())
    return total, found, false, 1000 * seconds / len(boxes)


def main() -> None:
    """Print one line per detector."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("weights", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for name, file in WEIGHTS.items():
        path = arguments.weights / file if file else None
        detector = build_detector(DetectorChoice(name, path, None, "cpu"))
        total, found, false, milliseconds = count(detector, arguments.photographs)
        print(f"{name:10} {found}/{total} found, {false} false, {milliseconds:.0f} ms a picture")


if __name__ == "__main__":
    main()

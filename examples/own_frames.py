"""Face crops of your own: a folder of pictures is one clip.

python examples/own_frames.py runs/first crops/
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from dfercli import load


def main(model_name: str, folder: str) -> None:
    """Print the probability of each class for the pictures of a folder, in the order of names."""
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix in (".jpg", ".png"))
    frames = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    model = load(model_name)
    prediction = model.predict_frames(frames)  # (T, H, W, 3), any number and size
    for name, probability in zip(model.label_set, prediction.probabilities[0], strict=True):
        print(f"{name:<12} {probability:.3f}")
    print(f"most probable: {prediction.labels[0]}")


if __name__ == "__main__":
    main(*sys.argv[1:])

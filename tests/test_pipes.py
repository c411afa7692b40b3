"""A pipe in place of a file, in a folder of a stranger: every reader refuses it and none waits."""

import os
import threading

import pytest

from dfercli.artifacts.arrays import read_arrays
from dfercli.artifacts.atomic import read_json
from dfercli.artifacts.checkpoint import read_training_state, read_weights
from dfercli.artifacts.exported_files import torchscript_card
from dfercli.artifacts.face_parts import read_parsing
from dfercli.artifacts.feature_files import features_state, read_features
from dfercli.artifacts.file_sums import file_md5, file_sha256
from dfercli.artifacts.jsonl import read_rows
from dfercli.artifacts.onnx_files import read_onnx
from dfercli.artifacts.torch_files import load_torch
from dfercli.data.features import frame_digests
from dfercli.data.loading import read_frame
from dfercli.data.raw_sets import is_lfs_pointer
from dfercli.descriptions.captions import _read_frame
from dfercli.errors import DferError
from dfercli.video.containers import open_container
from dfercli.video.decode import VideoReader
from dfercli.video.images import read_image
from dfercli.video.probe import probe_video

READERS = {
    "arrays": lambda path: read_arrays(path, {}),
    "json": read_json,
    "jsonl": lambda path: list(read_rows(path)),
    "model.safetensors": lambda path: read_weights(path.parent),
    "training_state.pt": lambda path: read_training_state(path.parent),
    "torchscript": torchscript_card,
    "parsing map": read_parsing,
    "features": read_features,
    "features' state": features_state,
    "md5": file_md5,
    "sha256": file_sha256,
    "onnx": read_onnx,
    "torch": load_torch,
    "digests": lambda path: frame_digests([path]),
    "frame": read_frame,
    "frame for a caption": _read_frame,
    "pointer": is_lfs_pointer,
    "container": open_container,
    "video": VideoReader,
    "image": read_image,
    "facts": probe_video,
}


@pytest.mark.parametrize("name", READERS)
def test_no_reader_waits_for_the_writer_of_a_pipe(name, tmp_path):
    pipe = tmp_path / name
    os.mkfifo(pipe)
    ends = []

    def read():
        try:
            ends.append(READERS[name](pipe))
        except DferError as error:
            ends.append(error.message)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(timeout=30)
    assert ends, "it waits"
    assert isinstance(ends[0], str) or not ends[0]

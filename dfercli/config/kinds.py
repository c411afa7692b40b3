"""The kinds of values that settings take; `overrides` checks their ranges."""

from typing import Annotated, Literal

from dfercli.config.class_list import split_classes
from dfercli.overrides import SplitBy
from dfercli.typed import Range

Count = Annotated[int, Range(1)]
CountOrNone = Annotated[int, Range(0)]
Frames = Annotated[int, Range(1, 1024)]
Tokens = Annotated[int, Range(0, 75)]  # CLIP's text of 77, less its first and last
Layers = Annotated[int, Range(0, 128)]
Positive = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
Accelerator = Literal["auto", "cpu", "cuda", "mps"]
# 32-true and bf16-true are the names that lightning-fabric gives to weights of that type.
Precision = Literal["auto", "32", "bf16-mixed", "16-mixed", "32-true", "bf16-true"]
AnswerPrecision = Literal[Precision, "int8"]  # of trained models, which are not trained further
Stream = Literal["frames", "landmarks", "parsing", "regions", "captions"]
MadeStream = Literal["landmarks", "parsing", "regions", "captions"]
TimelineFormat = Literal["vtt", "srt", "eaf", "textgrid", "boris", "noldus", "label-studio"]
Classes = Annotated[tuple[str, ...], SplitBy(split_classes)]

DEVICES = ("auto", "cpu", "cuda", "mps")
TEMPLATES = ("name", "context", "photo", "five", "ten")

"""Dynamic facial expression recognition: DFER-CLIP and FineCLIPER from raw video to timeline."""

from importlib.metadata import version

__version__ = version("dfercli")

"""CLIP backbone, DFER-CLIP and FineCLIPER: one model, one file."""

"""`dfer eval` and `dfer results`: measure checkpoints and compare runs."""

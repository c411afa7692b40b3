"""`dfer eval` and `dfer results`: what checkpoints are worth."""

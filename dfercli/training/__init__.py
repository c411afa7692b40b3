"""`dfer train` and `dfer sweep`: settings and clips to a run."""

"""How good the predictions are: rates, intervals, calibration and comparisons."""

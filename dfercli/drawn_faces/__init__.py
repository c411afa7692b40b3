"""Drawn faces that move by facial action units: data for the demo and the tests."""

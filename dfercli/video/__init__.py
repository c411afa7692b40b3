"""Decoding and time."""

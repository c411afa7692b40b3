"""Detection, tracks, alignment, landmarks and parsing of faces."""

"""Clips, manifests, the three benchmarks, sampling and augmentation."""

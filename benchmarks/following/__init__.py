"""The parts of `benchmarks/tracking.py`: drawn videos of known people, and the measures."""

"""What `benchmarks/tracking.py` measures with: drawn videos of known people, and the measures."""

"""The parts of `benchmarks/fuzz.py`: seeds, mutations, cases, a guard, and the faults."""

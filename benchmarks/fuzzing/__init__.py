"""What `benchmarks/fuzz.py` is made of: seeds, mutations, cases, a guard, and what is a fault."""

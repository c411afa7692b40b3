"""Puts the guard up in each process that a fuzzed one starts: this folder is on their path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from fuzzing.guard import from_environment

from_environment()

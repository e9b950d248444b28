"""Memory that a process frees serves it again."""

from __future__ import annotations

import subprocess
import sys

FAULTS = """
import resource, sys
import numpy as np
from connectors.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def work():
    return len([np.ones(3_000_000, np.uint8) for _ in range(10)])
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Page faults of a process that makes and frees the same arrays again and again."""
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True, timeout=300).stdout)


def test_arrays_made_and_freed_again_and_again_touch_no_new_page() -> None:
    kept, as_it_comes = faults("kept"), faults("as it comes")
    assert kept < 1_000  # 73,240 pages are written
    assert as_it_comes > 50_000

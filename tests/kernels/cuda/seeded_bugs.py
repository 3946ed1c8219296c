#!/usr/bin/env python3
"""Plants the bugs of seeded_bugs.txt in the kernels and sees whether the tests notice, on the emulator.

How it works and what it needs: tests/tools/seeded_bugs.py.

  seeded_bugs.py                      all of them (an hour or two)
  seeded_bugs.py --only softcap       those whose names contain "softcap"
  seeded_bugs.py --list               what there is; checks that each text occurs once
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(os.path.dirname(os.path.dirname(HERE)), "tools")
sys.dont_write_bytecode = True
sys.path[0] = TOOLS  # instead of this folder, where the module's name is this script's
import seeded_bugs  # noqa: E402

# What a family's sources are called, where not like its tests.
FAMILIES = {"kernels_cuda_rows": ("rows", "row_", "reduce", "words", "elementwise")}


def order(file, test):
    """The file's own family first; the model on the emulated GPU takes longest."""
    prefixes = FAMILIES.get(test, (test.removeprefix("kernels_cuda_"),))
    return test.startswith("golden"), not os.path.basename(file).startswith(prefixes), test


if __name__ == "__main__":
    suite = seeded_bugs.Suite(bugs=os.path.join(HERE, "seeded_bugs.txt"),
                              tests=r"(kernels|golden)_cuda_\w+", flags="-O1", order=order)
    sys.exit(seeded_bugs.main(suite, __doc__))

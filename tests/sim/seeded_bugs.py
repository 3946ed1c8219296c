#!/usr/bin/env python3
"""Plants the bugs of seeded_bugs.txt in KV, scheduler and engine and sees whether the tests notice.

How it works and what it needs: tests/tools/seeded_bugs.py.

  seeded_bugs.py                 all of them (an hour)
  seeded_bugs.py --only bucket   those whose names contain "bucket"
  seeded_bugs.py --list          what there is; checks that each text occurs once
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
# Instead of this folder, where the module's name is this script's.
sys.path[0] = os.path.join(os.path.dirname(HERE), "tools")
import seeded_bugs  # noqa: E402

# Cheap ones first.
TESTS = ["unit_core_kv", "unit_core_sched", "unit_core_request", "unit_core_engine",
         "unit_core_engine_loop", "unit_core_kv_swap", "sim_engine", "model_check_kv"]


def order(file, test):
    own = file.startswith("core/") and test == "unit_core_" + file.split("/")[1]
    return not own, TESTS.index(test)


if __name__ == "__main__":
    suite = seeded_bugs.Suite(bugs=os.path.join(HERE, "seeded_bugs.txt"), tests="|".join(TESTS),
                              flags="-O1", order=order)
    sys.exit(seeded_bugs.main(suite, __doc__))

"""Prints `N passed, N failed[, N skipped]` for a JUnit file that CTest wrote.

Counts test cases by what happened to each, since CTest's own totals count a test that could not
start as not run rather than as failed. A disabled test counts as failed: there are to be none.
The end of each failed test's output comes first, so that it is found at the end of a long log.
Exits 1 if a test failed or none ran.
"""

import sys
import xml.etree.ElementTree as ElementTree

MAX_OUTPUT_LINES = 40
MAX_SHOWN_FAILURES = 10
SKIP_MESSAGES = ("SKIP_RETURN_CODE", "SKIP_REGULAR_EXPRESSION")


def outcome(case):
    if case.get("status") == "run":
        return "passed"
    skipped = case.find("skipped")
    if skipped is not None and skipped.get("message", "").startswith(SKIP_MESSAGES):
        return "skipped"
    return "failed"


def show_output(case):
    lines = (case.findtext("system-out") or "").rstrip().splitlines()
    print(f"--- {case.get('name')}: the end of its output")
    print("\n".join(lines[-MAX_OUTPUT_LINES:]))


def main():
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    try:
        for case in ElementTree.parse(sys.argv[1]).getroot().iter("testcase"):
            result = outcome(case)
            counts[result] += 1
            if result == "failed" and counts["failed"] <= MAX_SHOWN_FAILURES:
                show_output(case)
            if result != "passed":
                print(f"{result}: {case.get('name')}")
    except (OSError, ElementTree.ParseError) as error:
        print(f"no test results: {error}")
        counts["failed"] += 1
    if not any(counts.values()):
        print("no test ran")
    line = f"{counts['passed']} passed, {counts['failed']} failed"
    if counts["skipped"]:
        line += f", {counts['skipped']} skipped"
    print(line)
    return 0 if counts["failed"] == 0 and counts["passed"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())

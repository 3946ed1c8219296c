"""No source file above 500 lines and, in core and server, no function above 70.

Functions are found by matching braces outside comments and literals: a brace that opens after a
parameter list, at namespace or class level, starts one. First proves itself on planted files.
"""

import re
import sys

import source_tree

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 70

# Generated or data, not source that people read.
CHECKED_SUFFIXES = source_tree.CPP_SUFFIXES + (".py", ".sh", ".proto", ".cmake", "CMakeLists.txt")

_COMMENT_OR_LITERAL = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'',
    re.DOTALL,
)
_CONTAINER = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b[^()]*$")


def blank(match):
    """Keeps the line count of what it removes; 1'000 is no character literal."""
    return "\n" * match.group(0).count("\n")


def functions(text):
    """Yields (first line, lines) of each function definition outside other functions."""
    text = _COMMENT_OR_LITERAL.sub(blank, re.sub(r"(?<=\d)'(?=\d)", "", text))
    text = re.sub(r"^\s*#.*?(?<!\\)$", blank, text, flags=re.MULTILINE | re.DOTALL)
    stack, head_start = [], 0  # of the braces: the function's start, or None
    for match in re.finditer(r"[{};]", text):
        symbol, inside = match.group(0), any(start is not None for start in stack)
        if symbol == "{":
            head = text[head_start : match.start()].strip()
            is_function = "(" in head and not _CONTAINER.search(head) and not head.endswith("=")
            starts = is_function and not inside
            stack.append(match.start() - len(text[head_start : match.start()].lstrip())
                         if starts else None)
        elif symbol == "}" and stack:
            start = stack.pop()
            if start is not None:
                yield text.count("\n", 0, start) + 1, text.count("\n", start, match.start()) + 1
        head_start = match.end()


def violations(root):
    found = []
    for name in source_tree.files(CHECKED_SUFFIXES, root):
        text = source_tree.read(name, root) or ""
        lines = text.count("\n")
        if lines > MAX_FILE_LINES:
            found.append(f"{name}: {lines} lines, {MAX_FILE_LINES} at most")
        if not name.startswith(("core/", "server/")) or not name.endswith(source_tree.CPP_SUFFIXES):
            continue
        for line, length in functions(text):
            if length > MAX_FUNCTION_LINES:
                found.append(f"{name}:{line}: a function of {length} lines, "
                             f"{MAX_FUNCTION_LINES} at most")
    return found


def self_test():
    body = "  Call();\n" * 80
    planted = {
        "core/a/free.cc": "namespace x {\nint Free(int a) {\n" + body + "}\n}  // namespace x\n",
        "core/a/method.cc": "A::A(int b) : b_(b) {\n" + body + "}\n",
        "server/inline.h": "class A {\n public:\n  void B() const {\n" + body + "  }\n};\n",
        "kernels/file.cc": "// line\n" * 501,
    }
    fine = {
        "core/a/fine.cc": "// {\nconst char* kBrace = \"{\";\nint k = 1'000;\nchar c = '{';\n"
        + "int F() {\n" + "  Call();\n" * 68 + "}\n" + "// line\n" * 80,
        "core/a/table.cc": "constexpr int kTable[] = {\n" + "  1,\n" * 100 + "};\n",
    }
    with source_tree.PlantedTree({**planted, **fine}) as root:
        found = [violation.split(":")[0] for violation in violations(root)]
    return [f"self-test: {name}: found {found.count(name)} times"
            for name in sorted(set(planted) | set(found)) if found.count(name) != (name in planted)]


if __name__ == "__main__":
    sys.exit(source_tree.report("size", self_test() + violations(source_tree.ROOT)))

"""Includes go one way: server -> core -> kernels/api. Also: no two folders reach each other.

Reads the includes alone, so it needs no build. First proves on a planted tree that each kind of
violation is found.
"""

import os
import sys

import source_tree

SOURCE_FOLDERS = ("core", "kernels", "server")

# Folder -> folders whose headers it may include besides its own. A prefix names its subfolders too.
ALLOWED = {
    "core/base": (),
    "core/text": ("core/base",),
    "core/kv": ("core/base", "kernels/api"),
    "core/request": ("core/base",),
    "core/plan": ("core/base", "core/request", "kernels/api"),
    "core/sched": ("core/base", "core/kv", "core/plan", "core/request"),
    "core/model": ("core/base", "core/plan", "kernels/api"),
    "core/regroup": ("core/base", "core/model", "kernels/api"),
    "core/sample": ("core/base", "core/request", "kernels/api"),
    "core/capacity": ("core/base", "core/kv", "core/model", "kernels/api"),
    "core/engine": ("core", "kernels/api"),
    "kernels/api": (),
    "kernels/cpu": ("kernels/api",),
    "kernels/cuda": ("kernels/api",),
    "kernels/reference": ("kernels/api",),
    "kernels": ("kernels",),
    "server/cli": (
        "core/base",
        "core/text",
        "core/capacity",
        "core/engine/model_tokenizer.h",
        "core/model/model_config.h",
        "core/regroup/regroup.h",
        "kernels/api/dtype_names.h",
        "kernels/api/types.h",
        "proto",
        "server/auth/api_key.h",
        "server/file_limit.h",
        "server/metadata_text.h",
    ),
    # Replicas of the engine in virtual time, which compute nothing.
    "server/cli/fleet": (
        "core/base",
        "core/engine",
        "core/kv",
        "core/model/model_runner.h",
        "server/cli/load",
    ),
    "server": (
        "server",
        "core/base",
        "core/text",
        "core/request",
        "core/capacity",
        "core/engine",
        "core/model/model_config.h",
        "kernels/api/dtype_names.h",
        "kernels/api/types.h",
        "proto",
    ),
}

# quire-bench and quire check drive the model runner and the device by themselves.
DIRECT_PREFIXES = ("server/cli/bench_", "server/cli/check_")
DIRECT_ALLOWED = ("core/engine", "core/kv", "core/model", "core/plan", "core/sched", "kernels/api")

# The files that put the server together include every folder of it, and those include the server's
# shared parts: for the search for cycles they are a folder of their own.
COMPOSITION_ROOT = ("server/main.cc", "server/exposure.h", "server/exposure.cc",
                    "server/lifecycle.h", "server/lifecycle.cc",
                    "server/self_watch.h", "server/self_watch.cc")

# Library headers, by their first path component, and the only files that may include them.
CONFINED = {
    "grpc": ("server/",),
    "grpcpp": ("server/",),
    "google": ("server/",),
    "prometheus": ("server/",),
    "CLI": ("server/",),
    "curl": ("server/cli/load/",),
    "cjose": ("server/auth/",),
    "openssl": ("server/",),
    "absl": ("core/", "server/"),
    "nlohmann": ("core/text/", "core/model/", "core/regroup/", "server/"),
    "pcre2.h": ("core/text/",),
    "omp.h": (),
}
# Kept out of core's interfaces: included by .cc files, or by a header that only those include.
ONLY_IN_SOURCES = ("nlohmann", "pcre2.h")


def folder_of(path):
    return "server (composition root)" if path in COMPOSITION_ROOT else os.path.dirname(path)


def starts_with(path, prefixes):
    return any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes)


def owner(path):
    """The most specific folder of ALLOWED that holds `path`."""
    folder = os.path.dirname(path)
    while folder and folder not in ALLOWED:
        folder = os.path.dirname(folder)
    return folder


def library_violation(name, included):
    library = included.split("/")[0]
    if library in CONFINED and not name.startswith(CONFINED[library] or ("-",)):
        return f"{library} does not belong in {os.path.dirname(name)}"
    return None


def folder_violation(name, included):
    folder = owner(name)
    if not folder:
        return "its folder has no include rule: add one to check_layering.py"
    allowed = ALLOWED[folder] + (folder,)
    if name.startswith(DIRECT_PREFIXES):
        allowed += DIRECT_ALLOWED
    if starts_with(included, allowed):
        return None
    return f"{folder} may not include {included}"


def include_violations(root):
    for name in source_tree.files(source_tree.CPP_SUFFIXES, root):
        if not name.startswith(tuple(folder + "/" for folder in SOURCE_FOLDERS)):
            continue
        for line, _, included in source_tree.includes(source_tree.read(name, root) or ""):
            is_ours = included.split("/")[0] in SOURCE_FOLDERS
            violation = (folder_violation if is_ours else library_violation)(name, included)
            if violation:
                yield f"{name}:{line}: {violation}"


def interface_violations(root):
    users = {}  # header -> headers that include it
    leaking = []
    for name in source_tree.files((".h",), root):
        for line, _, included in source_tree.includes(source_tree.read(name, root) or ""):
            users.setdefault(included, []).append(name)
            if name.startswith("core/") and included.split("/")[0] in ONLY_IN_SOURCES:
                leaking.append((name, line, included))
    for name, line, included in leaking:
        if name in users:
            yield f"{name}:{line}: {included} reaches the header {users[name][0]}"


def folder_graph(root):
    """Folder -> {folder it includes: an example of an include that does}."""
    graph = {}
    for name in source_tree.files(source_tree.CPP_SUFFIXES, root):
        if not name.startswith(tuple(folder + "/" for folder in SOURCE_FOLDERS)):
            continue
        folder = folder_of(name)
        edges = graph.setdefault(folder, {})
        for line, _, included in source_tree.includes(source_tree.read(name, root) or ""):
            target = folder_of(included)
            if included.split("/")[0] in SOURCE_FOLDERS and target != folder:
                edges.setdefault(target, f"{name}:{line}")
    return graph


def cycle_violations(root):
    graph = folder_graph(root)
    finished, path = set(), []

    def visit(folder):
        if folder in finished:
            return
        if folder in path:
            cycle = path[path.index(folder) :] + [folder]
            edges = [f"{a} -> {b} ({graph[a][b]})" for a, b in zip(cycle, cycle[1:])]
            yield "folders include each other: " + ", ".join(edges)
            return
        path.append(folder)
        for target in sorted(graph.get(folder, {})):
            yield from visit(target)
        path.pop()
        finished.add(folder)

    for folder in sorted(graph):
        yield from visit(folder)


def violations(root):
    checks = (include_violations, interface_violations, cycle_violations)
    return [violation for check in checks for violation in check(root)]


PLANTED = {
    "core/base/upward.h": ('#include "core/kv/kv_layout.h"\n', "may not include core/kv"),
    "core/kv/requests.h": ('#include "core/request/request.h"\n', "may not include core/request"),
    "core/model/wire.cc": ("#include <grpcpp/grpcpp.h>\n", "grpcpp does not belong"),
    "core/text/json.h": ("#include <nlohmann/json.hpp>\n", "reaches the header core/text/user.h"),
    "core/new_folder/a.h": ('#include "core/base/ids.h"\n', "no include rule"),
    "kernels/cpu/status.cc": ('#include "absl/status/status.h"\n', "absl does not belong"),
    "kernels/cpu/upward.cc": ('#include "core/base/ids.h"\n', "may not include core/base"),
    "server/cli/engine.cc": ('#include "core/engine/engine.h"\n', "may not include core/engine"),
    "server/rpc/blocks.cc": ('#include "core/kv/block_pool.h"\n', "may not include core/kv"),
    "kernels/cuda/a.h": ('#include "kernels/api/b.h"\n', "folders include each other"),
    "kernels/api/b.h": ('#include "kernels/cuda/a.h"\n', "may not include kernels/cuda"),
}
PLANTED_FINE = {
    "core/text/user.h": '#include "core/text/json.h"\n',
    "core/sample/fine.h": '#include "core/request/ids.h"\n#include "kernels/api/views.h"\n',
    "core/model/json_fine.h": "#include <nlohmann/json.hpp>\n",
    "server/cli/bench_fine.cc": '#include "core/model/transformer_runner.h"\n',
    "server/rpc/fine.cc": '#include <grpcpp/grpcpp.h>\n#include "core/engine/engine.h"\n',
}


def self_test():
    contents = {name: text for name, (text, _) in PLANTED.items()}
    with source_tree.PlantedTree({**contents, **PLANTED_FINE}) as root:
        found = violations(root)
    missed = [name for name, (_, what) in PLANTED.items()
              if not any(name in violation and what in violation for violation in found)]
    false_alarms = [v for v in found if v.startswith(tuple(PLANTED_FINE))]
    return [f"self-test: not found: {name}" for name in missed] + [
        f"self-test: false alarm: {violation}" for violation in false_alarms]


if __name__ == "__main__":
    sys.exit(source_tree.report("layering", self_test() + violations(source_tree.ROOT)))

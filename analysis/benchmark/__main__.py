"""`python -m analysis.benchmark`: the former name of `python -m benchmarks`."""

import importlib.util
import runpy
import sys

if __name__ == "__main__":
    if importlib.util.find_spec("benchmarks") is None:
        sys.exit("error: the benchmarks are not installed with the package; run them in a checkout")
    runpy.run_module("benchmarks", run_name="__main__", alter_sys=True)

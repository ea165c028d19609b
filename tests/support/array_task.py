"""An array task of the stand-in for Slurm: does the job on stdin, answers in the file that it is given."""

import json
import sys

from study.launchers.cluster.submission import run_on_node

if __name__ == "__main__":
    run_on_node(sys.argv[1], json.loads(sys.stdin.read()))

"""`python -m analysis.paper`: see `analysis.paper.report`."""

import sys

from analysis.paper.report import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

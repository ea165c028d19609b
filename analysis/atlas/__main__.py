"""`python -m analysis.atlas`: see `analysis.atlas.site`."""

import sys

from analysis.atlas.site import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

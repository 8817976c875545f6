"""Runs one stand-in; see ``process.py``."""

import sys

from probes.demo.voices.process import main

if __name__ == "__main__":
    sys.exit(main())

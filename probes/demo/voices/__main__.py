"""Runs one stand-in; see ``process.py``."""

import sys

from probes.demo.voices.process import main

sys.exit(main())

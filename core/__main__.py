"""`python -m core` is the command `preforge`."""

import sys

from core.cli import main

sys.exit(main())

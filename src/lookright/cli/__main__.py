"""`python -m lookright.cli`."""

import sys

from lookright.cli import main

sys.exit(main())

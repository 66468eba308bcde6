"""`python -m vigild` is `vigild`."""

import sys

from vigild.cli.main import main

sys.exit(main())

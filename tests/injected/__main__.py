"""`python -m injected run ...`: `vigild run ...`, with calls that can be made to fail."""

import os
import sys
from pathlib import Path

from injected.control import VARIABLE, Rule
from injected.shim import install

install(Rule(Path(os.environ[VARIABLE])))

from vigild.cli.main import main  # noqa: E402  (what it imports may keep a call for itself)

sys.exit(main())

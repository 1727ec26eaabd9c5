"""``python -m relad_bids`` is ``relad-bids``."""

import sys

from relad_bids.cli.run import main

sys.exit(main())

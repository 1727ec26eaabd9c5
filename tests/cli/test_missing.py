"""Who is missing: every state in which a stopped job can leave a session."""

import pandas as pd
import pytest
from toys import measured_of, tiny_card, tiny_config, tiny_unit


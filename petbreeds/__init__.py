__version__ = "0.2.0"

import os as _os

_os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: its threads must not spin while others need the cores

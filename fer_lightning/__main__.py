"""`python -m fer_lightning` is `fer`."""

import sys

from fer_lightning.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

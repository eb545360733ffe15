"""``python -m scn_fastai``, and ``torchrun -m scn_fastai``: the command scn."""

import sys

from scn_fastai.cli import main

if __name__ == "__main__":
    sys.exit(main())

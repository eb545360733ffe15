"""Where the browser of the tests is, and how patient they are."""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)

# The bars are those of two quiet cores; a busy or slower machine gets more time by this factor.
SLACK = float(os.environ.get("SCN_SLACK", "1"))

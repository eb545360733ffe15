"""What the tests of the web room share."""

from made_pictures import finder, red_detector, red_picture  # noqa: F401

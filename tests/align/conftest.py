"""What the tests of alignment share: MTCNN where its weights are, and a detector that needs none."""

from made_pictures import finder, red_detector, red_picture  # noqa: F401

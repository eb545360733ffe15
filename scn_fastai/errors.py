"""The errors that this package raises: one sentence that says what is wrong, where, and what to do."""


class SCNError(ValueError):
    """Anything that this package refuses."""


class DataError(SCNError):
    """Images, labels or files that cannot be used as they are."""


class RunError(SCNError):
    """A saved run that cannot be read, resumed or written."""


class SettingsError(SCNError):
    """A setting outside its range, or settings that contradict each other."""

"""Free what the tracebacks of an error hold."""

import traceback


def release_frames(error: BaseException) -> None:
    """Clear the local variables of the frames of *error*, and of the errors that led to it.

    An error keeps the frames that it went through, and their variables keep images and tensors
    alive for as long as anything refers to the error. Frames that still run stay as they are.
    """
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__

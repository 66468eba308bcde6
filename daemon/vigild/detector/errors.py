"""Why a model cannot be used."""

from __future__ import annotations

from vigild import plain


class BadOutput(Exception):
    """The outputs of this one frame have no meaning, so that nothing can be said of it; the message says why."""


class BoxesOutside(BadOutput):
    """All boxes of this frame lie nowhere in the picture."""


class ModelError(Exception):
    """A model, its labels, the runtime or the delegate is refused.

    `code` is a word for programs: "missing", "manifest", "unreadable", "not_tflite", "lfs_pointer",
    "truncated", "corrupt", "huge", "sha256_mismatch", "several_inputs", "shape", "channels",
    "dtype", "classifier", "outputs", "anchors", "labels", "labels_mismatch", "edgetpu_model",
    "unsupported_op", "runtime", "delegate", "invoke".
    `message` is a sentence for the person who must act: what was found, what was expected, what
    to do.
    """

    def __init__(self, code: str, message: str) -> None:
        message = plain.sentence(message)
        super().__init__(message)
        self.code = code
        self.message = message

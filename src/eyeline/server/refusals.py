"""Why a request is not served, as the browser is told."""

from eyeline._errors import EyelineError

__all__ = ["Busy", "Cancelled", "Gone", "Refusal", "TooLarge"]


class Refusal(EyelineError):
    """A request that is not served; `status` is HTTP's.

    Attributes:
        status: HTTP status.
        details: What else the browser is told.
    """

    status = 400

    def __init__(self, message: str, **details: int) -> None:
        super().__init__(message)
        self.details = details


class TooLarge(Refusal):
    """It would take more memory than there is for one text; says how long a text may be."""

    status = 413


class Busy(Refusal):
    """Others are being served; says when to come back."""

    status = 503


class Gone(Refusal):
    """There is no such reading here (any more)."""

    status = 404


class Cancelled(Exception):
    """Whoever asked has gone; raised inside of the work, between two layers."""

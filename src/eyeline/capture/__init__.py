"""Attention maps out of a running model. Only this package imports transformers, and late."""

from eyeline.capture.records import Maps, Record, UnsupportedModel
from eyeline.capture.watching import watch

__all__ = ["Maps", "Record", "UnsupportedModel", "watch"]

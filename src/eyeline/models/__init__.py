"""Real models by a short name: the catalogue, the cache, and what `--model X` means.

A model is a folder in Hugging Face layout with safetensors weights. Nothing here loads one, and
nothing here ever loads a pickle.
"""

from eyeline.models.cache import Cached, Record, cached
from eyeline.models.catalogue import CATALOGUE, Entry
from eyeline.models.fetch import get
from eyeline.models.resolve import resolve

__all__ = ["CATALOGUE", "Cached", "Entry", "Record", "cached", "get", "resolve"]

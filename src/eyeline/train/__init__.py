"""Training: recipes, the loop that follows them, and what a run leaves."""

from eyeline.train.loop import Run, train
from eyeline.train.publish import publish
from eyeline.train.recipe import Batch, Recipe, Result, Settings
from eyeline.train.recipes import RECIPES

__all__ = ["RECIPES", "Batch", "Recipe", "Result", "Run", "Settings", "publish", "train"]

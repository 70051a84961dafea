"""The recipes of the built-in models, one a file."""

from collections.abc import Callable

from eyeline.train.recipe import Recipe, Settings
from eyeline.train.recipes.g2p import G2P
from eyeline.train.recipes.tiny_bert import TinyBert
from eyeline.train.recipes.tiny_gpt import TinyGPT

__all__ = ["RECIPES"]

RECIPES: dict[str, Callable[[Settings | None], Recipe]] = {
    recipe.name: recipe for recipe in (G2P, TinyBert, TinyGPT)
}

"""Training of both passes, of the VAE and of nano: ``aftermath train``."""

from aftermath.train.recipe import (
    RECIPES,
    Recipe,
    nano_pass1,
    nano_pass2,
    nano_vae,
    recipe_named,
    void_pass1,
    void_pass2,
)

__all__ = [
    "RECIPES",
    "Recipe",
    "nano_pass1",
    "nano_pass2",
    "nano_vae",
    "recipe_named",
    "void_pass1",
    "void_pass2",
]

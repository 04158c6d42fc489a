"""Recipes are data: checked, hashed by content, and limited to what vLLM serves."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.trainer.recipe import RecipeUnusable, TrainingRecipe, load_recipe

RECIPES = Path(__file__).parents[3] / "services" / "trainer" / "recipes"


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_every_shipped_recipe_loads_and_survives_its_copy_beside_the_adapter(
    name: str, tmp_path: Path
) -> None:
    recipe = load_recipe(RECIPES, name)
    (tmp_path / f"{name}.yaml").write_text(recipe.as_yaml())
    assert load_recipe(tmp_path, name).sha256 == recipe.sha256


def test_the_digest_is_of_the_content_not_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("rank: 8\nepochs: 2\n")
    before = load_recipe(tmp_path, "a").sha256
    (tmp_path / "a.yaml").write_text("# why\nepochs: 2\nrank: 8\nalpha: 32  # the default\n")
    assert load_recipe(tmp_path, "a").sha256 == before
    (tmp_path / "a.yaml").write_text("rank: 16\nepochs: 2\n")
    assert load_recipe(tmp_path, "a").sha256 != before


@pytest.mark.parametrize(
    "typo",
    [
        {"epoch": 3},
        {"rank": 12},
        {"use_dora": True},
        {"bias": "all"},
        {"learning_rate": 0},
        {"first_layer": 1, "share_prefix": True},
        {"first_layer": 1, "target_modules": ["q_proj"]},
    ],
)
def test_what_vllm_cannot_serve_or_nobody_knows_is_refused(typo: dict) -> None:
    with pytest.raises(ValidationError):
        TrainingRecipe(name="x", **typo)


def test_an_unknown_or_broken_recipe_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("rank: 8\n")
    (tmp_path / "bad.yaml").write_text("rank: many\n")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(RecipeUnusable, match="there are: bad, empty, good"):
        load_recipe(tmp_path, "missing")
    with pytest.raises(RecipeUnusable):
        load_recipe(tmp_path, "../recipes/good")
    with pytest.raises(RecipeUnusable, match="rank"):
        load_recipe(tmp_path, "bad")
    with pytest.raises(RecipeUnusable, match="empty"):
        load_recipe(tmp_path, "empty")

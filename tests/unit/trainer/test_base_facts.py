"""The recipe follows the base model and the machine, and is checked before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.trainer.base_facts import (
    BaseFacts,
    LayerMissing,
    ModulesMissing,
    RowsTooLong,
    TooLargeToTrain,
    fitting_recipe,
    recipe_for,
)
from services.trainer.order import TrainingOrder
from services.trainer.rates import learning_rate
from services.trainer.recipe import RecipeUnusable, TrainingRecipe
from tests import factories
from tests.unit.trainer.worlds import FACTS

GIB = 2**30
RECIPES = Path(__file__).parents[3] / "services" / "trainer" / "recipes"


def facts(billions: float, *gpus: int, **changes: object) -> BaseFacts:
    found = {"parameters": int(billions * 1e9), "gpus": tuple(gpu * GIB for gpu in gpus)}
    return FACTS.model_copy(update=found | changes)


@pytest.mark.parametrize(
    ("base", "name"),
    [
        (facts(0.135), "cpu"),
        (facts(1.7), "cpu"),
        (facts(0.135, 24), "lora-8b"),
        (facts(8.03, 80), "lora-8b"),
        (facts(8.03, 40), "lora-8b"),
        (facts(8.03, 24), "qlora-8b"),
        (facts(8.03, 80, 24), "qlora-8b"),
        (facts(32.8, 80), "qlora-8b"),
        (facts(32.8, 80, 80), "qlora-8b"),
        (facts(70.6, *[80] * 8), "lora-32b"),
    ],
)
def test_a_recipe_follows_the_size_and_the_hardware(base: BaseFacts, name: str) -> None:
    chosen = recipe_for(RECIPES, "auto", base)
    assert chosen.recipe.name == name
    assert chosen.because.startswith(f"recipe {name}: {base.size} parameters")


@pytest.mark.parametrize("base", [facts(8.03), facts(70.6, 80), facts(1.7, memory=4 * GIB)])
def test_what_is_too_large_is_refused_in_words(base: BaseFacts) -> None:
    with pytest.raises(TooLargeToTrain, match=rf"{base.size} parameters .* GiB"):
        fitting_recipe(base)


def test_gpus_that_share_a_model_out_are_as_many_processes() -> None:
    chosen = recipe_for(RECIPES, "auto", facts(70.6, *[80] * 8))
    assert chosen.recipe.processes == 8
    assert "no GPU holds, on 8 GPUs with 640 GiB together" in chosen.because


def test_a_short_context_shortens_the_rows_of_a_chosen_recipe_and_refuses_a_named_one() -> None:
    base = facts(0.135, context=512)
    chosen = recipe_for(RECIPES, "auto", base)
    assert chosen.recipe.max_length == 512
    assert chosen.because.endswith("rows of up to 512 tokens, to which it attends")
    with pytest.raises(RowsTooLong, match="up to 1024 tokens"):
        recipe_for(RECIPES, "cpu", base)


def test_names_of_layers_are_checked_before_anything_is_loaded() -> None:
    with pytest.raises(ModulesMissing, match="c_attn"):
        recipe_for(RECIPES, "tiny-cpu", facts(0.124, linear=("c_attn", "c_fc", "c_proj")))
    with pytest.raises(LayerMissing, match="only 15"):
        recipe_for(RECIPES, "tiny-cpu", facts(0.124, layers=15))
    with pytest.raises(RecipeUnusable, match="there are: cpu"):
        recipe_for(RECIPES, "typo", FACTS)


def order_of(recipe: TrainingRecipe, folder: Path) -> TrainingOrder:
    return TrainingOrder(
        job_id="j",
        dataset_id="acme--support-triage@3f9c3f9c3f9c",
        dataset_sha256="ab" * 32,
        dataset=folder,
        spec=factories.spec(),
        recipe=recipe,
        base_model="base",
        checkpoints=folder / "c",
        output=folder / "out",
        tracking_uri="sqlite://",
    )


def recipe(**changes: object) -> TrainingRecipe:
    return TrainingRecipe(name="x", **{"learning_rate": "auto"} | changes)


def test_a_rate_is_the_recipes_unless_it_is_left_to_the_rule() -> None:
    assert learning_rate(recipe(learning_rate=3e-4), 4096, 10) == 3e-4
    assert learning_rate(recipe(), 4096, 100_000) == pytest.approx(2.9e-4)


def test_wide_models_and_long_runs_learn_more_slowly() -> None:
    assert learning_rate(recipe(), 576, 200) > learning_rate(recipe(), 576, 5000)
    assert learning_rate(recipe(), 2048, 5000) > learning_rate(recipe(), 8192, 5000)
    assert learning_rate(recipe(), 64, 50) == 2e-3


def test_the_rank_changes_nothing_while_alpha_stays() -> None:
    assert learning_rate(recipe(rank=8), 4096, 900) == learning_rate(recipe(rank=64), 4096, 900)


@pytest.mark.parametrize(("rows", "kept"), [(40, "last"), (99, "last"), (100, "best")])
def test_the_best_epoch_is_kept_where_enough_rows_tell_which_it_is(
    rows: int, kept: str, tmp_path: Path
) -> None:
    order = order_of(recipe(), tmp_path)
    settled = order.settled(576, 500, rows)
    assert settled.recipe.keep == kept
    assert settled.learning_rate == learning_rate(recipe(), 576, 500)
    last = order_of(recipe(keep="last"), tmp_path).settled(576, 500, rows)
    assert last.recipe.keep == "last"

"""A look at a base model before anything is trained: its size, its layers, and what its chat
template makes of a row. No weights are read.

    python -m services.trainer.look --base-model FOLDER

Says one line of JSON: the facts (services/trainer/base_facts.py), or {"refused": ...}.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import cast

import torch
from jinja2 import TemplateError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from schemas.base import JsonObject
from services.trainer.base_facts import BaseFacts
from services.trainer.layers import linear_layers
from services.trainer.refusals import BaseModelMissing, NoChatTemplate, TemplateUnfit
from services.trainer.rendering import Tokenizer, helping_arguments, written_by
from shared.child import say
from shared.errors import JobFailed

ASKED: list[JsonObject] = [
    {"role": "system", "content": "Name the topic of the message."},
    {"role": "user", "content": "Where is my parcel?"},
]
ANSWER = "delivery"


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--base-model", required=True, help="a folder, or an id on the hub")
    try:
        say(facts=facts_of(arguments.parse_args().base_model).model_dump(mode="json"))
    except JobFailed as refusal:
        say(refused=str(refusal))
        sys.exit(2)


def facts_of(base_model: str) -> BaseFacts:
    """Return what is known of a base model. Raises BaseModelMissing or NoChatTemplate."""
    try:
        config = AutoConfig.from_pretrained(base_model)
        tokenizer = AutoTokenizer.from_pretrained(base_model)
        with torch.device("meta"):
            # transformers leaves it untyped.
            model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    except (OSError, ImportError, ValueError, KeyError) as error:
        raise BaseModelMissing(base_model, error) from error
    if not tokenizer.chat_template:
        raise NoChatTemplate(base_model)
    told, refused = template_of(cast(Tokenizer, tokenizer))
    gpus = [torch.cuda.get_device_properties(at) for at in range(torch.cuda.device_count())]
    return BaseFacts(
        parameters=model.num_parameters(),
        layers=model.config.num_hidden_layers,
        linear=tuple(sorted(linear_layers(model))),
        context=getattr(model.config, "max_position_embeddings", None),
        template_arguments=told,
        refused=refused,
        gpus=tuple(one.total_memory for one in gpus),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )


def template_of(tokenizer: Tokenizer) -> tuple[JsonObject, str | None]:
    """Return what the chat template must be told, or why no row can be trained on."""
    told = helping_arguments(tokenizer, ASKED, ANSWER, {})
    if told is not None:
        return told, None
    try:
        written_by(tokenizer, ASKED, ANSWER, {})
    except TemplateUnfit as unfit:
        return {}, str(unfit)
    except (TemplateError, TypeError) as error:
        return {}, f"the chat template cannot write a system message and a question: {error}"
    return {}, None


if __name__ == "__main__":
    main()

"""A randomly initialised Llama of two layers with its own tokenizer, and a dataset for it: trains
in a second or two.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }} {{ m['content'] }}</s>{% endfor %}{% if"
    " add_generation_prompt %}<s>assistant {% endif %}"
)
TEXTS = {
    "delivery": ("where is my parcel", "the box is late"),
    "refund": ("I want money back", "pay me back please"),
    "password": ("I cannot log in", "reset my login"),
}


def build_model(folder: Path, seed: int = 0, weight: float | None = None, hidden: int = 32) -> Path:
    """`weight` fills the embedding: infinity makes every loss NaN."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    words = [text for texts in TEXTS.values() for text in texts] + [
        *TEXTS,
        "system user assistant Classify the message.",
    ]
    tokenizer.train_from_iterator(
        words * 3,
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=["<s>", "</s>"],
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )
    if weight is not None:
        model.model.embed_tokens.weight.data.fill_(weight)
    model.save_pretrained(folder)
    return folder


def rows(copies: int) -> list[dict]:
    return [
        {"messages": json.dumps([{"role": "user", "content": f"{text} {number}"}]), "answer": label}
        for number in range(copies)
        for label, texts in TEXTS.items()
        for text in texts
    ]


def build_dataset(folder: Path, train: int = 4, validation: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, copies in (("train", train), ("validation", validation), ("test", 1), ("audit", 1)):
        parquet.write_table(
            pa.Table.from_pylist(
                rows(copies), schema=pa.schema({"messages": pa.string(), "answer": pa.string()})
            ),
            folder / f"{split}.parquet",
        )
    (folder / "manifest.json").write_text("{}")
    return folder

"""Chat templates of common families: TRL's copies, the laptop's own, and some written after what is
published.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

COPIES = Path(trl.__file__).parent / "chat_templates"
SPECIAL = re.compile(r"<[|｜][^<>{}'\"\s]{1,40}[|｜]>|<(?:start|end)_of_turn>|\[/?INST\]")
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}"
    "{{ eos_token }}{% elif m.role == 'system' %}[INST] {{ m.content }}\n\n{% else %}"
    "{% if loop.first %}[INST] {% endif %}{{ m.content }}[/INST]{% endif %}{% endfor %}"
)
GRANITE = (
    "{% for m in messages %}<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}"
    "<|end_of_text|>\n{% endfor %}{% if add_generation_prompt %}<|start_of_role|>assistant"
    "<|end_of_role|>{% endif %}"
)
FALCON = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% if m.role == 'assistant' %}"
    "{{ eos_token }}{% endif %}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n"
    "{% endif %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PHI_4 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}<|im_sep|>{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant<|im_sep|>{% endif %}"
)

GLM_4 = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SMOLLM_3 = (
    "{% set thinks = enable_thinking is not defined or enable_thinking %}<|im_start|>system\n"
    "## Metadata\n\nToday Date: {{ strftime_now('%d %B %Y') }}\nReasoning Mode: "
    "{{ '/think' if thinks else '/no_think' }}\n\n## Custom Instructions\n\n"
    "{{ messages[0].content }}<|im_end|>\n{% for m in messages[1:] %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and not thinks %}<think>\n\n</think>\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if not thinks %}<think>\n\n</think>\n{% endif %}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """A template, the tokenizer's end token, and what else the generation config stops at."""

    name: str
    # A copy in TRL, or the template itself.
    template: str
    eos: str
    ends: tuple[str, ...] = ()

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Return a tokenizer of bytes that knows the family's special tokens."""
        copy = COPIES / f"{self.template}.jinja"
        template = (
            copy.read_text() if "\n" not in self.template and copy.exists() else self.template
        )
        bytewise = Tokenizer(models.BPE(vocab={c: n for n, c in enumerate(alphabet())}, merges=[]))
        bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bytewise.decoder = decoders.ByteLevel()
        made = PreTrainedTokenizerFast(
            tokenizer_object=bytewise, bos_token="<s>", eos_token=self.eos, chat_template=template
        )
        special = sorted({*SPECIAL.findall(template), self.eos, *self.ends})
        made.add_special_tokens({"additional_special_tokens": special})
        return made


def alphabet() -> list[str]:
    return sorted(pre_tokenizers.ByteLevel.alphabet())


GEMMA = ("<end_of_turn>",)
FAMILIES = (
    Family("SmolLM2, Yi, other ChatML", CHATML, "<|im_end|>"),
    Family("Qwen2.5", "qwen2_5", "<|im_end|>", ("<|endoftext|>",)),
    Family("Qwen3", "qwen3", "<|im_end|>", ("<|endoftext|>",)),
    Family("Qwen3 Instruct 2507", "qwen3_instruct_2507", "<|im_end|>", ("<|endoftext|>",)),
    Family("Qwen3.5, thinking", "qwen3_5_think", "<|im_end|>", ("<|endoftext|>",)),
    Family("SmolLM3", SMOLLM_3, "<|im_end|>"),
    Family("Llama 3", "llama3", "<|eot_id|>"),
    Family("Llama 3.1", "llama3_1", "<|eot_id|>", ("<|eom_id|>",)),
    Family("Llama 3.2", "llama3_2", "<|eot_id|>", ("<|eom_id|>",)),
    Family("Gemma 1, 2", "gemma", "<eos>", GEMMA),
    Family("Gemma 3", "gemma3", "<eos>", GEMMA),
    Family("Gemma 4", "gemma4", "<eos>", ("<turn|>",)),
    Family("Mistral 7B v0.3", MISTRAL, "</s>"),
    Family("Phi-3", "phi3", "<|endoftext|>", ("<|end|>",)),
    Family("Phi-3.5", "phi3_5", "<|endoftext|>", ("<|end|>",)),
    Family("Phi-4", PHI_4, "<|im_end|>"),
    Family("GLM-4", GLM_4, "<|endoftext|>", ("<|user|>", "<|observation|>")),
    Family("GLM-4.5", "glm4moe", "<|endoftext|>", ("<|user|>", "<|observation|>")),
    Family("DeepSeek-R1 distilled", "deepseek_r1_distill", "<｜end▁of▁sentence｜>"),
    Family("DeepSeek V3", "deepseekv3", "<｜end▁of▁sentence｜>"),
    Family("Nemotron 3", "nemotron_3_nano", "<|im_end|>"),
    Family("Granite 3", GRANITE, "<|end_of_text|>"),
    Family("Command-R", "cohere", "<|END_OF_TURN_TOKEN|>"),
    Family("Command R7B", "cohere2", "<|END_OF_TURN_TOKEN|>"),
    Family("Falcon 3", FALCON, "<|endoftext|>"),
    Family("LFM2", "lfm2", "<|im_end|>"),
    Family("gpt-oss", "gptoss", "<|return|>", ("<|call|>",)),
)

"""The command line that vLLM is started with."""

from __future__ import annotations

from pathlib import Path

from infra.vllm import vllm_command


def test_vllm_listens_on_this_machine_alone() -> None:
    for gpu in (True, False):
        argv, _ = vllm_command("/models/base", 9000, gpu=gpu)
        assert argv[argv.index("--host") + 1] == "127.0.0.1"
        assert argv[argv.index("--port") + 1] == "9000"


def test_the_served_name_is_the_callers() -> None:
    argv, _ = vllm_command("/models/base", 9000, served_name="acme/triage")
    assert argv[argv.index("--served-model-name") + 1] == "acme/triage"


def test_adapters_can_be_swapped_while_it_serves() -> None:
    for gpu in (True, False):
        argv, env = vllm_command("/models/base", 9000, gpu=gpu)
        assert "--enable-lora" in argv
        assert env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"


def test_calls_of_tools_are_read_where_a_parser_is_named() -> None:
    for gpu in (True, False):
        argv, _ = vllm_command("/models/base", 9000, gpu=gpu, tool_parser="hermes")
        assert argv[argv.index("--tool-call-parser") + 1] == "hermes"
        assert "--enable-auto-tool-choice" in argv
        assert "--enable-auto-tool-choice" not in vllm_command("/models/base", 9000, gpu=gpu)[0]


def test_a_gpu_gets_vllm_as_it_comes() -> None:
    argv, env = vllm_command("/models/base", 9000, gpu=True)
    assert argv[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]
    assert "OMP_NUM_THREADS" not in env


def test_a_model_in_a_folder_is_never_looked_up_in_a_hub(tmp_path: Path) -> None:
    assert vllm_command(tmp_path, 9000)[1]["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in vllm_command("someone/some-model", 9000)[1]

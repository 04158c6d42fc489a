"""Which torch is installed where: behind a mirror of PyPI alone the set-up goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from infra.setup import __main__ as program
from infra.setup import places, venvs, vllm, work
from infra.setup.machine import SetupError
from infra.setup.venvs import PYTORCH_CPU_INDEX, NoCpuBuild, install_listed

NOWHERE = SetupError("x: `pip` failed:\n  ERROR: No matching distribution found for torch")


class Pip:
    """A pip that knows which builds of torch each index has, and notes what it was asked."""

    def __init__(self, mirror: set[str], pytorch: set[str], trouble: str = "") -> None:
        self.mirror = mirror
        self.pytorch = pytorch
        self.trouble = trouble
        self.installed: list[str] = []
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, step: str, venv: Path, *arguments: str) -> None:
        self.calls.append(arguments)
        listed = Path(arguments[arguments.index("-r") + 1])
        if listed.name != "torch.txt":
            self.installed.append(listed.name)
            return
        wanted = listed.read_text().split()[0].removeprefix("torch==")
        there = self.mirror | (self.pytorch if PYTORCH_CPU_INDEX in arguments else set())
        if self.trouble and PYTORCH_CPU_INDEX in arguments:
            raise SetupError(self.trouble)
        if ("+cpu" if "+cpu" in wanted else "cuda") not in there:
            raise NOWHERE
        self.installed.append("torch +cpu" if "+cpu" in wanted else "torch")


@pytest.fixture(autouse=True)
def linux_without_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RATCHET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(venvs, "has_gpu", lambda: False)
    monkeypatch.setattr(venvs.platform, "system", lambda: "Linux")
    monkeypatch.setattr(venvs, "check_disk", lambda *_: None)


def installs(pip: Pip, monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    monkeypatch.setattr(venvs, "pip", pip)
    install_listed("services", folder, places.CONSTRAINTS)
    return pip.installed


@pytest.mark.parametrize(
    ("mirror", "pytorch", "installed"),
    [
        ({"+cpu", "cuda"}, set(), ["torch +cpu", "constraints.txt"]),
        ({"cuda"}, {"+cpu"}, ["torch +cpu", "constraints.txt"]),
        ({"cuda"}, set(), ["torch", "constraints.txt", "constraints-cuda.txt"]),
    ],
    ids=["in the own index", "in PyTorch's", "a mirror of PyPI alone"],
)
def test_torch_comes_from_where_it_is(
    mirror: set[str],
    pytorch: set[str],
    installed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert installs(Pip(mirror, pytorch), monkeypatch, tmp_path) == installed
    said = capsys.readouterr().out
    assert ("2.7 GB to fetch" in said) == ("constraints-cuda.txt" in installed)


def test_pytorchs_index_is_asked_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pip = Pip({"cuda"}, set())
    installs(pip, monkeypatch, tmp_path)
    [asked] = [call for call in pip.calls if PYTORCH_CPU_INDEX in call]
    assert asked[:4] == ("--timeout", "10", "--retries", "1")


def test_another_trouble_is_no_reason_to_fetch_gigabytes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pip = Pip({"cuda"}, set(), trouble="No space left on device")
    with pytest.raises(SetupError, match="No space left"):
        installs(pip, monkeypatch, tmp_path)
    assert pip.installed == []


def test_a_full_disk_is_said_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(_: Path, megabytes: int) -> None:
        raise SetupError(f"needs {megabytes}")

    monkeypatch.setattr(venvs, "check_disk", full)
    pip = Pip({"cuda"}, set())
    with pytest.raises(SetupError, match="needs 5500"):
        installs(pip, monkeypatch, tmp_path)
    assert pip.installed == []


def test_what_vllm_needs_is_said_with_three_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(venvs, "pip", Pip({"cuda"}, set()))
    monkeypatch.setattr(vllm, "has_gpu", lambda: False)
    monkeypatch.setattr(vllm, "check_disk", lambda *_: None)
    monkeypatch.setattr(vllm, "make_venv", lambda _, venv: venv.mkdir(parents=True))
    with pytest.raises(vllm.NoVllm) as failed:
        vllm.make_vllm_venv()
    for way in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "ratchet up --engine URL", "+cpu"):
        assert way in str(failed.value)


def test_the_set_up_does_without_vllm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []

    def no_vllm() -> None:
        raise vllm.NoVllm(NoCpuBuild("torch==2.13.0+cpu"))

    monkeypatch.setattr(program, "model", lambda: made.append("model"))
    monkeypatch.setattr(program, "vllm", no_vllm)
    assert program.main(["all"]) == 0
    assert made == ["model"]
    assert "--engine URL" in capsys.readouterr().out


def test_what_everything_needs_still_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_services() -> None:
        raise SetupError("no network")

    monkeypatch.setattr(program, "model", no_services)
    monkeypatch.setattr(program, "vllm", lambda: None)
    assert program.main(["all"]) == 1


@pytest.mark.parametrize("constrained", [False, True])
def test_pip_says_nowhere_in_the_words_that_are_looked_for(
    constrained: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against pip itself, with indexes that have nothing."""
    (tmp_path / "torch.txt").write_text("torch==0.0.1+cpu --hash=sha256:" + "0" * 64)
    (tmp_path / "limits.txt").write_text("torch<99\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "limits.txt") if constrained else "")
    ask = [sys.executable, "-m", "pip", *venvs.FAST, "--dry-run", "--no-index", *venvs.BOUNDED]
    with pytest.raises(SetupError, match=venvs.NOWHERE):
        work.run("x", [*ask, *venvs.LISTED, str(tmp_path / "torch.txt")], next_step="")

"""The set-up: idempotent, one at a time, never taking an interrupted run for a whole one, and clear
when it cannot go on.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from infra.setup import base_model_dir, cache_dir, places, services, vllm_python
from infra.setup.__main__ import main
from infra.setup.lock import entries, subset
from infra.setup.machine import SetupError, check_disk, check_python
from infra.setup.work import only_one, run, stamp_says, write_stamp


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RATCHET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_clones_share_lies_in_the_cache(cache: Path) -> None:
    assert cache_dir() == cache
    assert base_model_dir() == cache / "models" / "SmolLM2-135M-Instruct"
    assert vllm_python().is_relative_to(cache)


def test_a_changed_pin_makes_another_vllm_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = places.vllm_venv()
    other = tmp_path / "constraints-vllm.txt"
    other.write_text(places.VLLM_CONSTRAINTS.read_text() + "one-more==1\n")
    monkeypatch.setattr(places, "VLLM_CONSTRAINTS", other)
    assert places.vllm_venv() != before


def test_an_environment_without_its_stamp_is_not_ready(tmp_path: Path) -> None:
    assert not stamp_says(tmp_path, "inputs")
    write_stamp(tmp_path, "inputs")
    assert stamp_says(tmp_path, "inputs")
    assert not stamp_says(tmp_path, "other inputs")


def test_a_new_dependency_makes_the_services_environment_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "ROOT", tmp_path)
    text = (places.ROOT / "pyproject.toml").read_text()
    found = []
    for content in (
        text,
        text + "\n[tool.other]\nline = 1\n",
        text.replace('"aiokafka"', '"aiokafka", "new-one"'),
    ):
        (tmp_path / "pyproject.toml").write_text(content)
        found.append(services.inputs())
    assert found[0] == found[1] != found[2]


def test_two_runs_take_turns(tmp_path: Path) -> None:
    other = (
        "from infra.setup.work import only_one\nfrom pathlib import Path\nwith only_one('x',"
        f" Path({str(tmp_path)!r})): print('in')"
    )
    with only_one("x", tmp_path):
        second = subprocess.Popen(
            [sys.executable, "-c", other], cwd=places.ROOT, stdout=subprocess.PIPE, text=True
        )
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(1.5)
    assert "in" in second.communicate(timeout=30)[0]


def test_a_failed_command_says_what_it_printed_and_what_to_do(cache: Path) -> None:
    with pytest.raises(SetupError, match=r"(?s)no such thing.*Next: look again"):
        run(
            "x",
            [sys.executable, "-c", "import sys; sys.exit('no such thing')"],
            next_step="look again",
        )


def test_a_full_disk_is_named_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"needs 1000000000 MB. Next: free some space"):
        check_disk(tmp_path / "not" / "yet", 1_000_000_000)


def test_an_event_log_that_cannot_start_here_is_said_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    binary = tmp_path / "lib/python3.11/site-packages/noida_db/noida-db"
    binary.parent.mkdir(parents=True)
    binary.write_text("#!/bin/sh\necho 'GLIBC_2.34 not found' >&2; exit 1\n")
    services.check_event_log(tmp_path)
    assert "GLIBC_2.34 not found" in (said := capsys.readouterr().out)
    assert "ratchet kafka install" in said
    binary.write_text("#!/bin/sh\n")
    services.check_event_log(tmp_path)
    assert capsys.readouterr().out == ""


def test_an_old_python_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    with pytest.raises(
        SetupError, match=r"3\.11 or newer, and this is 3\.9\.2\. Next: make setup PYTHON="
    ):
        check_python()


def test_check_on_an_empty_machine_names_the_missing_and_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check"]) == 1
    printed = capsys.readouterr()
    assert "vllm     missing; python3 -m infra.setup vllm makes it" in printed.out
    assert "Next: make setup" in printed.err


def test_the_set_up_needs_nothing_installed() -> None:
    """-S hides every installed package, as on a fresh machine."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "infra.setup", "--help"],
        cwd=places.ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name",
    ["constraints.txt", "constraints-cuda.txt", "constraints-vllm.txt", "constraints-kafka.txt"],
)
def test_every_version_is_pinned_with_its_hashes_and_names_no_build(name: str) -> None:
    listed = entries((places.ROOT / name).read_text("utf-8"))
    pins = [entry.splitlines()[0] for entry in listed.values()]
    assert pins and all("==" in pin and "+" not in pin for pin in pins)
    assert all("--hash=sha256:" in entry for entry in listed.values())


def test_both_builds_of_torch_are_in_the_lists() -> None:
    """PyPI has builds for four Pythons and three systems; the CPU build is one file more."""
    services_list = entries(places.CONSTRAINTS.read_text("utf-8"))["torch"]
    cpu = "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"
    assert cpu in services_list
    assert services_list.count("--hash=") > 10


def test_a_service_gets_its_part_of_the_list() -> None:
    try:
        needed = entries("\n".join(subset(["review"])))
    except SetupError as error:
        if "Failed to fetch" not in str(error):
            raise
        pytest.skip("no package index answers here")
    assert {"aiokafka", "itsdangerous", "hatchling"} <= needed.keys()
    assert not {"torch", "pytest", "evidently"} & needed.keys()

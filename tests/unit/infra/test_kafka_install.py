"""`ratchet kafka install`: right or not at all, whatever the mirror does and whoever is killed."""

from __future__ import annotations

import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli.main import app
from infra.kafka import download, install, installed, jars, java, places
from infra.kafka import install as install_function
from infra.kafka.download import DownloadFailed
from infra.kafka.jars import JarsWrong
from infra.kafka.java import NoJre
from infra.kafka.source import DigestWrong, NoArchive, SourceMissing, sha512_in
from infra.setup import places as setup_places
from tests.mirror import (
    Mirror,
    cut_at_half,
    cut_at_once,
    silent,
    silent_at_half,
    without_ranges,
)

ROOT = Path(__file__).parents[3]
TGZ = "/kafka/kafka_2.13-4.3.1.tgz"
# Incompressible, so that half of the archive is in the middle of a jar.
CONTENT = {
    "kafka-clients-4.3.1.jar": random.Random(1).randbytes(300_000),
    "kafka-server-4.3.1.jar": random.Random(2).randbytes(200_000),
}


def release(content: dict[str, bytes], *others: tuple[str, bytes]) -> bytes:
    """Pack as Apache does, with more in it than is wanted."""
    packed = io.BytesIO()
    jars = [(f"kafka_2.13-4.3.1/libs/{name}", data) for name, data in content.items()]
    readme = ("kafka_2.13-4.3.1/README.md", b"x" * 1000)
    unlisted = ("kafka_2.13-4.3.1/libs/connect-runtime-4.3.1.jar", b"y" * 1000)
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in (readme, unlisted, *jars, *others):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def apache_format(data: bytes) -> bytes:
    digest = hashlib.sha512(data).hexdigest().upper()
    groups = [digest[at : at + 8] for at in range(0, 128, 8)]
    lines = [" ".join(groups[at : at + 4]) for at in range(0, 16, 4)]
    return ("kafka_2.13-4.3.1.tgz: " + "\n                      ".join(lines) + "\n").encode()


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock list of two small jars, an empty cache, and no JRE to fetch."""
    rows = [
        f"org.apache.kafka\t{name[:-10]}\t4.3.1\t{len(data)}\t{hashlib.sha256(data).hexdigest()}"
        for name, data in CONTENT.items()
    ]
    (tmp_path / "jars.tsv").write_text("# group\n" + "\n".join(rows) + "\n")
    monkeypatch.setenv("RATCHET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(jars, "LOCK", tmp_path / "jars.tsv")
    module = sys.modules["infra.kafka.install"]
    monkeypatch.setattr(module, "install_jre", lambda *_: (Path(sys.executable), None))
    monkeypatch.setattr(module, "make_archive", lambda *_: None)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    packed = release(CONTENT)
    with Mirror({TGZ: packed, f"{TGZ}.sha512": apache_format(packed)}) as running:
        yield running


def fetched(mirror: Mirror) -> list[str | None]:
    """The ranges that were asked of the archive."""
    return [wanted for path, wanted in mirror.asked if path == TGZ]


def run_install(source: str) -> list[str]:
    said: list[str] = []
    install(source, said.append, lambda *_: None)
    return said


def assert_whole() -> None:
    found = installed()
    assert found is not None
    assert {jar.name: jar.read_bytes() for jar in found.jars} == CONTENT
    assert found.version == "4.3.1"
    left = {entry.name for entry in setup_places.cache_dir().iterdir()}
    assert left <= {found.home.name, "downloads", "locks", "logs"}
    downloads = setup_places.cache_dir() / "downloads"
    assert not downloads.exists() or not list(downloads.iterdir())


def assert_nothing() -> None:
    assert installed() is None
    assert not list(setup_places.cache_dir().glob("kafka*"))


def test_only_the_listed_jars_are_kept_and_a_second_time_fetches_nothing(mirror: Mirror) -> None:
    said = run_install(mirror.url + TGZ)
    assert_whole()
    assert not [line for line in said if "SHA-512" in line]
    asked = len(mirror.asked)
    run_install(mirror.url + TGZ)
    assert len(mirror.asked) == asked


@pytest.mark.parametrize("form", ["apache", "sha512sum", "bsd", "bare"])
def test_a_digest_is_read_in_every_form_it_is_published_in(form: str) -> None:
    digest = hashlib.sha512(b"x").hexdigest()
    text = {
        "apache": apache_format(b"x").decode(),
        "sha512sum": f"{digest}  kafka_2.13-4.3.1.tgz\n",
        "bsd": f"SHA512 (kafka_2.13-4.3.1.tgz) = {digest}\n",
        "bare": digest,
    }[form]
    assert sha512_in(text) == digest


@pytest.mark.parametrize("text", ["", "<html>soft 404</html>", "abc: def", "a" * 129])
def test_what_is_no_digest_is_not_taken_for_one(text: str) -> None:
    assert sha512_in(text) is None


def test_a_wrong_digest_is_refused_and_what_was_fetched_goes(mirror: Mirror) -> None:
    mirror.files[f"{TGZ}.sha512"] = apache_format(b"another")
    with pytest.raises(DigestWrong, match=r"SHA-512 published beside it.*Nothing was installed"):
        run_install(mirror.url + TGZ)
    assert_nothing()
    mirror.files[f"{TGZ}.sha512"] = apache_format(mirror.files[TGZ])
    run_install(mirror.url + TGZ)
    assert fetched(mirror) == [None, None]
    assert_whole()


def test_without_a_digest_the_jars_decide_and_that_is_said(mirror: Mirror) -> None:
    del mirror.files[f"{TGZ}.sha512"]
    said = run_install(mirror.url + TGZ)
    assert [line for line in said if "no SHA-512 is published beside it" in line]
    assert_whole()


def test_an_altered_jar_is_refused_by_name_though_the_digest_is_right(mirror: Mirror) -> None:
    wrong = release(CONTENT | {"kafka-server-4.3.1.jar": b"evil"})
    mirror.files |= {TGZ: wrong, f"{TGZ}.sha512": apache_format(wrong)}
    with pytest.raises(JarsWrong, match=r"kafka-server-4\.3\.1\.jar is not what the lock list has"):
        run_install(mirror.url + TGZ)
    assert_nothing()


def test_a_missing_jar_is_refused_by_name(mirror: Mirror) -> None:
    mirror.files[TGZ] = release({"kafka-server-4.3.1.jar": CONTENT["kafka-server-4.3.1.jar"]})
    del mirror.files[f"{TGZ}.sha512"]
    with pytest.raises(JarsWrong, match=r"kafka-clients-4\.3\.1\.jar is not there"):
        run_install(mirror.url + TGZ)
    assert_nothing()


def test_nothing_is_written_outside_the_folder(mirror: Mirror, tmp_path: Path) -> None:
    outside = ("../../../../escaped", b"out")
    endless = ("x/libs/kafka-server-4.3.1.jar", b"\0" * 5_000_000)
    mirror.files[TGZ] = release({}, outside, endless)
    del mirror.files[f"{TGZ}.sha512"]
    with pytest.raises(JarsWrong):
        run_install(mirror.url + TGZ)
    assert_nothing()
    assert not list(tmp_path.rglob("escaped"))


def test_a_cut_download_goes_on_where_it_was_cut(mirror: Mirror) -> None:
    mirror.behaviours[TGZ] = [cut_at_half]
    run_install(mirror.url + TGZ)
    assert fetched(mirror) == [None, f"bytes={len(mirror.files[TGZ]) // 2}-"]
    assert_whole()


def test_a_mirror_that_cannot_go_on_in_the_middle_begins_again(mirror: Mirror) -> None:
    mirror.behaviours[TGZ] = [cut_at_half, without_ranges]
    run_install(mirror.url + TGZ)
    assert_whole()


def test_one_that_cuts_every_time_is_given_up_in_words(mirror: Mirror) -> None:
    mirror.behaviours[TGZ] = [cut_at_once] * download.TRIES
    with pytest.raises(DownloadFailed, match=r"again and again.*--from FILE"):
        run_install(mirror.url + TGZ)
    assert_nothing()


def test_the_file_changed_while_it_was_fetched(mirror: Mirror) -> None:
    """The halves of two files are no release, and the next run must not go on with them."""
    first = mirror.files[TGZ]

    def replaced(request, content: bytes) -> bool:
        cut_at_half(request, content)
        mirror.files[TGZ] = release(dict(reversed(CONTENT.items())))
        mirror.files[f"{TGZ}.sha512"] = apache_format(mirror.files[TGZ])
        return True

    mirror.behaviours[TGZ] = [replaced]
    with pytest.raises(DigestWrong):
        run_install(mirror.url + TGZ)
    assert mirror.files[TGZ] != first
    run_install(mirror.url + TGZ)
    assert_whole()


@pytest.mark.parametrize("behaviour", [silent, silent_at_half], ids=["at once", "at half"])
def test_a_silent_mirror_is_given_up_after_five_seconds(mirror: Mirror, behaviour) -> None:
    mirror.behaviours[TGZ] = [behaviour]
    began = time.monotonic()
    with pytest.raises(DownloadFailed, match="the server said nothing for 5 s"):
        run_install(mirror.url + TGZ)
    assert 4.5 < time.monotonic() - began < 30
    assert_nothing()
    run_install(mirror.url + TGZ)
    assert_whole()


@pytest.mark.faults
def test_a_silent_digest_does_not_stop_what_the_jars_decide(mirror: Mirror) -> None:
    mirror.behaviours[f"{TGZ}.sha512"] = [silent]
    said = run_install(mirror.url + TGZ)
    assert [line for line in said if "no SHA-512" in line]
    assert_whole()


def test_what_is_not_there_is_said(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="answers 404"):
        run_install(f"{mirror.url}/elsewhere.tgz")
    with pytest.raises(SourceMissing, match="nothing at"):
        run_install(str(tmp_path / "absent.tgz"))
    with pytest.raises(DownloadFailed, match="ConnectError"):
        run_install("http://127.0.0.1:1/kafka.tgz")
    assert_nothing()


def test_apache_moves_old_releases_to_its_archive(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["infra.kafka.install"]
    monkeypatch.setattr(module, "SITES", (f"{mirror.url}/now", f"{mirror.url}/old"))
    path = "/old/4.3.1/kafka_2.13-4.3.1.tgz"
    mirror.files |= {
        path: mirror.files[TGZ],
        f"{path}.sha512": apache_format(mirror.files[TGZ]),
    }
    said: list[str] = []
    install_function(None, said.append, lambda *_: None)
    assert [line for line in said if "trying Apache's archive" in line]
    assert_whole()


@pytest.mark.parametrize("inside", ["libs", ""], ids=["unpacked", "jars alone"])
def test_a_folder_is_taken_and_an_altered_jar_in_it_refused(tmp_path: Path, inside: str) -> None:
    folder = tmp_path / "kafka" / inside
    folder.mkdir(parents=True)
    for name, data in CONTENT.items():
        (folder / name).write_bytes(data)
    altered = folder / "kafka-clients-4.3.1.jar"
    altered.write_bytes(CONTENT[altered.name][:-1] + b"!")
    with pytest.raises(JarsWrong, match=r"kafka-clients-4\.3\.1\.jar is not what"):
        run_install(str(tmp_path / "kafka"))
    assert_nothing()
    altered.write_bytes(CONTENT[altered.name])
    run_install(str(tmp_path / "kafka"))
    assert_whole()
    assert altered.exists()


@pytest.mark.parametrize("digest", ["right", "wrong", "none"])
def test_a_file_is_checked_against_the_digest_beside_it(tmp_path: Path, digest: str) -> None:
    packed = release(CONTENT)
    (tmp_path / "kafka.tgz").write_bytes(packed)
    if digest != "none":
        text = apache_format(packed if digest == "right" else b"another")
        (tmp_path / "kafka.tgz.sha512").write_bytes(text)
    if digest == "wrong":
        with pytest.raises(DigestWrong):
            run_install(str(tmp_path / "kafka.tgz"))
        assert_nothing()
    else:
        run_install(str(tmp_path / "kafka.tgz"))
        assert_whole()
    assert (tmp_path / "kafka.tgz").read_bytes() == packed


@pytest.mark.parametrize("content", [b"", b"<html>", release(CONTENT)[:100_000]])
def test_what_is_no_archive_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kafka.tgz").write_bytes(content)
    with pytest.raises(NoArchive, match=r"no whole \.tgz file"):
        run_install(str(tmp_path / "kafka.tgz"))
    assert_nothing()


DRIVER = """
import sys
from pathlib import Path
from infra.kafka import jars
jars.LOCK = Path(sys.argv[1])
import infra.kafka
module = sys.modules["infra.kafka.install"]
module.install_jre = lambda *_: (Path(sys.executable), None)
module.make_archive = lambda *_: None
module.install(sys.argv[2], print, lambda *_: None)
"""


def other_process(mirror: Mirror) -> subprocess.Popen:
    argv = [sys.executable, "-c", DRIVER, str(jars.LOCK), mirror.url + TGZ]
    return subprocess.Popen(argv, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})


def test_a_run_that_was_killed_leaves_nothing_in_the_way(mirror: Mirror) -> None:
    mirror.behaviours[TGZ] = [silent_at_half]
    killed = other_process(mirror)
    try:
        deadline = time.monotonic() + 30
        half = len(mirror.files[TGZ]) // 2
        downloads = setup_places.cache_dir() / "downloads"
        while sum(file.stat().st_size for file in downloads.glob("*")) < half:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
    assert installed() is None
    run_install(mirror.url + TGZ)
    assert fetched(mirror) == [None, f"bytes={half}-"]
    assert_whole()


def test_two_at_once_fetch_once(mirror: Mirror) -> None:
    threads = [threading.Thread(target=run_install, args=(mirror.url + TGZ,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(fetched(mirror)) == 1
    assert_whole()


def test_the_command_says_what_it_did_and_refuses_in_one_sentence(mirror: Mirror) -> None:
    runner = CliRunner()
    refused = runner.invoke(app, ["kafka", "install", "--from", f"{mirror.url}/absent.tgz"])
    assert (refused.exit_code, "answers 404" in refused.stderr) == (1, True)
    done = runner.invoke(app, ["kafka", "install", "--from", mirror.url + TGZ])
    assert (done.exit_code, str(places.kafka_dir()) in done.output) == (0, True)
    assert "ratchet kafka install" in runner.invoke(app, ["kafka"]).output


def no_pip(*_: object, **__: object) -> None:
    raise java.SetupError("no index answers\n  a log")


def test_without_a_jre_from_pip_an_installed_java_serves_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(java, "run", no_pip)
    monkeypatch.setattr(java, "version_of", lambda _: 21)
    home = tmp_path / "jdk"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").touch()
    found, why = java.install_jre(tmp_path / "jre", {"JAVA_HOME": str(home)})
    assert (found, why) == (home / "bin" / "java", "no index answers")


@pytest.mark.parametrize("version", [11, None])
def test_without_any_java_the_reason_is_pips(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: int | None
) -> None:
    monkeypatch.setattr(java, "run", no_pip)
    monkeypatch.setattr(java, "version_of", lambda _: version)
    monkeypatch.setattr(java, "on_path", lambda: tmp_path if version else None)
    with pytest.raises(NoJre, match="no index answers"):
        java.install_jre(tmp_path / "jre", {})


def test_a_jre_that_does_not_start_here_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its wheel installs on musl too, and cannot run there."""
    other = tmp_path / "bin" / "java"
    other.parent.mkdir()
    other.touch()
    monkeypatch.setattr(java, "run", lambda *_, **__: None)
    monkeypatch.setattr(java, "version_of", lambda path: 17 if path == other else None)
    found, why = java.install_jre(tmp_path / "jre", {"JAVA_HOME": str(tmp_path)})
    assert (found, "does not start" in (why or "")) == (other, True)

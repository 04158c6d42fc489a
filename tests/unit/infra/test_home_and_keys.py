"""The folder of a local system: one supervisor at a time, development keys once, secrets for their
owner alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.local.home import AlreadyRunning, Home, NotRunning
from infra.local.keys import (
    DEVELOPMENT,
    AmbiguousKey,
    KeyFile,
    UnknownKey,
    UnknownScope,
    development_credentials,
)
from shared.http.auth import Keyring


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.prepare()
    return home


def test_a_second_supervisor_is_refused_with_the_first_ones_pid(home: Home) -> None:
    with home.lock():
        home.write_state({"pid": 4711})
        with pytest.raises(AlreadyRunning, match="process 4711"):
            home.lock()
        assert home.state() == {"pid": 4711}


def test_a_state_file_that_a_killed_supervisor_left_is_not_believed(home: Home) -> None:
    home.write_state({"pid": 4711})
    with pytest.raises(NotRunning, match="ratchet up"):
        home.state()
    home.lock().close()


def test_development_keys_are_made_once_and_open_what_they_should(home: Home) -> None:
    credentials = development_credentials(home)
    assert development_credentials(home) == credentials
    assert set(credentials) == set(DEVELOPMENT)
    keyring = Keyring(home.keys_file)
    assert {
        role: set(keyring.authenticate(secret).scopes) for role, secret in credentials.items()
    } == DEVELOPMENT
    assert {keyring.authenticate(secret).tenant for secret in credentials.values()} == {"acme"}


def test_secrets_are_readable_by_their_owner_alone_and_digests_only_are_kept(home: Home) -> None:
    credentials = development_credentials(home)
    assert home.credentials_file.stat().st_mode & 0o777 == 0o600
    assert not any(secret in home.keys_file.read_text() for secret in credentials.values())


def test_a_lost_keys_file_is_made_again_for_every_role(home: Home) -> None:
    development_credentials(home)
    home.keys_file.unlink()
    credentials = development_credentials(home)
    assert all(Keyring(home.keys_file).authenticate(secret) for secret in credentials.values())


def test_a_revoked_key_opens_nothing(home: Home) -> None:
    keys = KeyFile(home.keys_file)
    secret = keys.create("ada", "acme", {"review"})
    keys.revoke("ada")
    assert Keyring(home.keys_file).authenticate(secret) is None


def test_keys_that_cannot_be_meant_are_refused(home: Home) -> None:
    keys = KeyFile(home.keys_file)
    with pytest.raises(UnknownScope, match=r"'everything'.*infer"):
        keys.create("ada", "acme", {"everything"})
    with pytest.raises(UnknownKey, match="ratchet keys list"):
        keys.revoke("nobody")
    keys.create("ada", "acme", {"review"})
    keys.create("ada", "acme", {"review"})
    with pytest.raises(AmbiguousKey, match="by its id"):
        keys.revoke("ada")


def test_a_key_that_takes_the_place_of_another_is_of_the_same_application(home: Home) -> None:
    keys = KeyFile(home.keys_file)
    first = keys.create("shop", "acme", {"capture:write"}, "web-shop")
    second, old = keys.rotate("shop")
    keyring = Keyring(home.keys_file)
    before, after = keyring.authenticate(first), keyring.authenticate(second)
    assert (before.id, before.application) == (old, "web-shop")
    assert before.model_copy(update={"id": after.id}) == after.model_copy(
        update={"sha256": before.sha256}
    )
    keys.revoke(old)
    assert [key["id"] for key in keys.all()] == [after.id]


def test_a_key_of_the_last_release_is_an_application_by_its_name(home: Home) -> None:
    keys = KeyFile(home.keys_file)
    secret = keys.create("desk", "acme", {"capture:write"})
    entries = [{name: key[name] for name in key if name != "application"} for key in keys.all()]
    keys._write(entries)
    assert Keyring(home.keys_file).authenticate(secret).application == "desk"
    assert Keyring(home.keys_file).authenticate(keys.rotate("desk")[0]).application == "desk"

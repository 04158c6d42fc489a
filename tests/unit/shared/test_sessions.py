"""Who asked is told by a hash, and only within one route."""

from shared.rules import session_hash


def test_the_same_session_is_the_same_within_a_route_and_another_elsewhere() -> None:
    told = session_hash("acme/support", "user 7")
    assert told == session_hash("acme/support", "user 7")
    assert told not in {
        session_hash("acme/support", "user 8"),
        session_hash("acme/other", "user 7"),
    }
    assert "user 7" not in str(told) and len(str(told)) == 16


def test_who_is_not_told_has_none() -> None:
    assert session_hash("acme/support", None) is None
    assert session_hash("acme/support", "") is None

"""Who gets in, for how long, and what is left of it afterwards; on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from lookout.accounts import passwords, sessions, users
from lookout.accounts.rights import ROLE_SCOPES, Identity
from lookout.accounts.secrets import digest
from lookout.audit import Actor
from lookout.errors import BadInputError, ConflictError, NotFoundError, RefusedError
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import ApiToken, AuditEntry, OneTimeLink, User, UserSession, Watchlist

PASSWORD = "several words are fine"
ADMIN = Actor("admin", "session", "192.0.2.9")
ADDRESS = "192.0.2.1"
MINUTE = 60


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.at_us = 1_800_000_000_000_000

    def __call__(self) -> int:
        return self.at_us

    def pass_s(self, seconds: float) -> None:
        self.at_us += int(seconds * 1_000_000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (sessions, users):
        monkeypatch.setattr(module, "now_us", made)
    return made


@pytest.fixture
def anna(registry: Registry, clock: Clock) -> str:
    """An operator with a password; returns the id."""
    with registry.transaction() as session:
        user = users.create_user(session, ADMIN, name="anna", role="operator")
        secret = users.make_link(session, ADMIN, user)
    with registry.transaction() as session:
        return users.use_link(session, secret, PASSWORD, address=ADDRESS).id


def sign_in(registry: Registry, password: str = PASSWORD, name: str = "anna") -> str:
    return sessions.sign_in(registry, name, password, address=ADDRESS)


def who(registry: Registry, secret: str) -> Identity | None:
    return sessions.of_session(registry, secret, address=ADDRESS)


def change(registry: Registry, user_id: str, **changed: object) -> None:
    fields = {"role": "operator", "watchlist_ids": None, "camera_groups": None, "disabled": False} | changed
    with registry.transaction() as session:
        users.change_user(session, ADMIN, users.get_user(session, user_id, lock=True), **fields)  # type: ignore[arg-type]


def actions(registry: Registry) -> list[str]:
    with registry.reading() as session:
        return list(session.scalars(select(AuditEntry.action).order_by(AuditEntry.number)))


def test_passwords_are_argon2id_and_no_secret_is_stored(registry: Registry, anna: str) -> None:
    secret = sign_in(registry)

    with registry.reading() as session:
        stored = session.get_one(User, anna).password_hash or ""
        held = [one.token_hash for one in session.scalars(select(UserSession))]
    assert stored.startswith("$argon2id$")
    assert held == [digest(secret)]


def test_a_session_is_known_until_it_was_idle_or_is_old(registry: Registry, anna: str, clock: Clock) -> None:
    secret = sign_in(registry)
    for _ in range(7):  # used every 100 minutes
        found = who(registry, secret)
        assert found is not None
        assert (found.name, found.role, found.scopes) == ("anna", "operator", ROLE_SCOPES["operator"])
        assert found.actor == Actor("anna", "session", ADDRESS)
        clock.pass_s(100 * MINUTE)
    assert clock.at_us - 1_800_000_000_000_000 < 12 * 3600 * 1_000_000
    clock.pass_s(21 * MINUTE)
    assert who(registry, secret) is None  # twelve hours

    idle = sign_in(registry)
    clock.pass_s(2 * 3600 - 1)
    assert who(registry, idle) is not None
    clock.pass_s(2 * 3600)
    assert who(registry, idle) is None


def test_a_session_that_has_ended_is_forgotten_and_unknown_ones_are_nobodys(registry: Registry, anna: str) -> None:
    secret = sign_in(registry)
    sessions.sign_out(registry, secret)
    sessions.sign_out(registry, secret)
    assert who(registry, secret) is None
    assert who(registry, "") is None
    assert actions(registry)[-2:] == ["session.begun", "session.ended"]


def test_five_wrong_passwords_lock_for_a_minute_then_twice_as_long(registry: Registry, anna: str, clock: Clock) -> None:
    def wrong() -> None:
        with pytest.raises(RefusedError):
            sign_in(registry, "a wrong password")

    for _ in range(4):
        wrong()
    sign_in(registry)  # four are no harm, and the count begins anew
    for _ in range(5):
        wrong()
    lock_s = 60
    for _ in range(8):
        with pytest.raises(RefusedError):
            sign_in(registry)  # right, but locked
        clock.pass_s(lock_s - 1)
        with pytest.raises(RefusedError):
            sign_in(registry)
        clock.pass_s(1)
        wrong()
        lock_s = min(3600, 2 * lock_s)
    assert lock_s == 3600
    clock.pass_s(3600)
    sign_in(registry)
    wrong()
    sign_in(registry)


def test_an_admin_or_a_new_link_unlocks(registry: Registry, anna: str) -> None:
    for _ in range(2):
        for _ in range(5):
            with pytest.raises(RefusedError):
                sign_in(registry, "a wrong password")
        with registry.transaction() as session:
            user = users.find_user(session, "anna")
            assert users.is_locked(user)
            users.unlock_user(session, ADMIN, user)
        sign_in(registry)
    assert "user.unlocked" in actions(registry)


@pytest.mark.parametrize("name", ["anna", "nobody", "without", "disabled", "locked"])
def test_a_password_is_verified_whoever_is_named(
    registry: Registry, anna: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the time of an answer does not tell who has an account."""
    with registry.transaction() as session:
        for other in ("without", "disabled", "locked"):
            users.create_user(session, ADMIN, name=other, role="analyst")
        users.find_user(session, "disabled").disabled_at_us = 1
        users.find_user(session, "locked").locked_until_us = 2**60
    checked: list[str] = []
    hasher = passwords._hasher

    class Spy:
        def verify(self, stored: str, password: str) -> bool:
            checked.append(stored)
            return hasher.verify(stored, password)

    monkeypatch.setattr(passwords, "_hasher", Spy())
    with pytest.raises(RefusedError) as refused:
        sign_in(registry, "a wrong password", name)

    assert len(checked) == 1
    assert checked[0].split("$")[1:4] == passwords._NOBODY.split("$")[1:4]  # the same work
    assert "user or password is wrong" in str(refused.value)


def test_what_was_typed_as_a_name_is_not_written_down(registry: Registry, anna: str) -> None:
    with pytest.raises(RefusedError):
        sign_in(registry, "anna", PASSWORD)  # the wrong way round

    with registry.reading() as session:
        last = session.scalars(select(AuditEntry).order_by(AuditEntry.number.desc())).first()
    assert last is not None
    assert (last.action, last.actor, last.subject_id) == ("session.refused", "unknown", "")


def test_a_disabled_user_is_out_at_once_with_sessions_tokens_and_links(
    registry: Registry, anna: str, clock: Clock
) -> None:
    secret = sign_in(registry)
    with registry.transaction() as session:
        user = users.find_user(session, "anna")
        _, token = sessions.create_token(session, ADMIN, user, name="t", scopes=["alerts:read"], days=None)
        link = users.make_link(session, ADMIN, user)
    assert sessions.of_token(registry, token, address=ADDRESS) is not None

    change(registry, anna, disabled=True)

    assert who(registry, secret) is None
    assert sessions.of_token(registry, token, address=ADDRESS) is None
    with pytest.raises(RefusedError):
        sign_in(registry)
    with registry.transaction() as session, pytest.raises(NotFoundError):
        users.link_user(session, link)
    with registry.transaction() as session, pytest.raises(BadInputError, match="disabled"):
        users.make_link(session, ADMIN, users.find_user(session, "anna"))
    with registry.transaction() as session, pytest.raises(BadInputError, match="disabled"):
        sessions.create_token(
            session, ADMIN, users.find_user(session, "anna"), name="t", scopes=["alerts:read"], days=1
        )
    change(registry, anna)
    assert who(registry, secret) is None
    assert who(registry, sign_in(registry)) is not None
    with registry.reading() as session:
        assert not session.scalars(select(OneTimeLink)).all()
        assert not session.scalars(select(ApiToken)).all()


def test_changed_rights_count_from_the_next_request_on(registry: Registry, anna: str) -> None:
    secret = sign_in(registry)
    with registry.transaction() as session:
        session.add(Watchlist(id="w", name="w", purpose="p", legal_basis="l", created_at_us=0))
        user = users.find_user(session, "anna")
        _, token = sessions.create_token(session, ADMIN, user, name="t", scopes=["alerts:judge"], days=None)

    change(registry, anna, role="analyst", watchlist_ids=["w"], camera_groups=["door"])

    found = who(registry, secret)
    assert found is not None
    assert not found.may("alerts:judge")
    assert found.sees_watchlist("w")
    assert not found.sees_watchlist("v")
    assert found.sees_group("door")
    assert not found.sees_group("yard")
    by_token = sessions.of_token(registry, token, address=ADDRESS)
    assert by_token is not None
    assert by_token.scopes == frozenset()  # what the role lost, the token lost


def test_rights_are_to_what_there_is(registry: Registry, anna: str) -> None:
    with pytest.raises(BadInputError, match="there is no watchlist nowhere"):
        change(registry, anna, watchlist_ids=["nowhere"])
    with pytest.raises(BadInputError, match="there is no role"):
        change(registry, anna, role="king")
    with registry.transaction() as session, pytest.raises(BadInputError, match="there is no watchlist"):
        users.create_user(session, ADMIN, name="ben", role="analyst", watchlist_ids=["nowhere"])


@pytest.mark.parametrize("name", ["", "Anna", "a b", "-a", "a" * 61, "ä", "a\n", "a\x00", "../a"])
def test_names_of_users_are_plain(registry: Registry, name: str) -> None:
    with registry.transaction() as session, pytest.raises(BadInputError, match="name"):
        users.create_user(session, ADMIN, name=name, role="analyst")


def test_a_name_is_taken_once_and_the_transaction_lives_on(registry: Registry, anna: str) -> None:
    with registry.transaction() as session:
        with pytest.raises(ConflictError, match="there is a user anna already"):
            users.create_user(session, ADMIN, name="anna", role="analyst")
        users.create_user(session, ADMIN, name="ben", role="analyst")
    assert actions(registry)[-1] == "user.created"


def test_a_link_works_once_and_only_the_newest(registry: Registry, anna: str, clock: Clock) -> None:
    old = sign_in(registry)
    with registry.transaction() as session:
        first = users.make_link(session, ADMIN, users.find_user(session, "anna"))
        second = users.make_link(session, ADMIN, users.find_user(session, "anna"))
    for link in (first, "lkl_never"):
        with registry.transaction() as session, pytest.raises(NotFoundError):
            users.use_link(session, link, "quite another password", address=ADDRESS)
    with registry.transaction() as session, pytest.raises(BadInputError, match="15 to 200"):
        users.use_link(session, second, "too short", address=ADDRESS)
    assert who(registry, old) is not None
    with registry.transaction() as session:
        users.use_link(session, second, "quite another password", address=ADDRESS)
    with registry.transaction() as session, pytest.raises(NotFoundError):
        users.use_link(session, second, "yet another password", address=ADDRESS)
    assert who(registry, old) is None
    with pytest.raises(RefusedError):
        sign_in(registry)
    sign_in(registry, "quite another password")


def test_a_link_lasts_a_day(registry: Registry, anna: str, clock: Clock) -> None:
    with registry.transaction() as session:
        link = users.make_link(session, ADMIN, users.find_user(session, "anna"))
    clock.pass_s(24 * 3600 - 1)
    with registry.transaction() as session:
        assert users.link_user(session, link).name == "anna"
    clock.pass_s(1)
    with registry.transaction() as session, pytest.raises(NotFoundError):
        users.link_user(session, link)


@pytest.mark.parametrize(
    "password", ["short", "x" * 15, "x" * 201, "anna" * 5, "ANNAANNAANNAANNA", "ababababababababab"]
)
def test_weak_passwords_are_refused(password: str) -> None:
    with pytest.raises(BadInputError, match="password"):
        passwords.hash_password(password, user="anna")


def test_the_own_password_is_changed_with_the_old_one(registry: Registry, anna: str, clock: Clock) -> None:
    here, elsewhere = sign_in(registry), sign_in(registry)

    def change_it(old: str, new: str = "quite another password") -> None:
        sessions.change_password(registry, here, old, new, address=ADDRESS)

    with pytest.raises(RefusedError, match="old password is wrong"):
        change_it("a wrong password")
    with pytest.raises(BadInputError, match="password"):
        change_it(PASSWORD, "too short")
    change_it(PASSWORD)

    assert who(registry, here) is not None
    assert who(registry, elsewhere) is None
    sign_in(registry, "quite another password")
    assert [one for one in actions(registry) if one.startswith("password")] == [
        "password.set",
        "password.refused",
        "password.changed",
    ]
    # Whoever found a session open may not try on and on.
    for _ in range(5):
        with pytest.raises(RefusedError):
            change_it("a wrong password")
    with pytest.raises(RefusedError):
        change_it("quite another password")
    with pytest.raises(RefusedError, match="sign in again"):
        sessions.change_password(registry, elsewhere, PASSWORD, "quite another password", address=ADDRESS)


def test_tokens_carry_scopes_expire_and_tell_their_last_use(registry: Registry, anna: str, clock: Clock) -> None:
    with registry.transaction() as session:
        user = users.get_user(session, anna)
        token, secret = sessions.create_token(
            session, ADMIN, user, name=" report ", scopes=["alerts:read", "alerts:read"], days=2
        )
    assert (token.name, token.scopes, token.last_used_at_us) == ("report", ["alerts:read"], None)
    found = sessions.of_token(registry, secret, address=ADDRESS)
    assert found is not None
    assert found.scopes == {"alerts:read"}
    assert found.actor.via == "token"
    with registry.reading() as session:
        (kept,) = sessions.tokens_of(session, anna)
    assert kept.last_used_at_us == clock.at_us
    assert secret not in kept.token_hash
    clock.pass_s(2 * 86400)
    assert sessions.of_token(registry, secret, address=ADDRESS) is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"scopes": ["audit:read"]}, "anna is operator and may not audit:read"),
        ({"scopes": ["everything"]}, "there is no everything"),
        ({"scopes": []}, "choose at least one"),
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"days": 0}, "days"),
        ({"days": 10**9}, "days"),
        ({"at_most": frozenset({"cameras:read"})}, "who asks may not alerts:read"),
    ],
)
def test_a_wrong_token_is_refused(registry: Registry, anna: str, given: dict[str, object], says: str) -> None:
    fields = {"name": "t", "scopes": ["alerts:read"], "days": 1} | given
    with registry.transaction() as session, pytest.raises(BadInputError, match=says):
        sessions.create_token(session, ADMIN, users.get_user(session, anna), **fields)  # type: ignore[arg-type]


def test_tokens_of_a_user_have_a_limit_and_are_revoked(registry: Registry, anna: str) -> None:
    with registry.transaction() as session:
        user = users.get_user(session, anna)
        made = [
            sessions.create_token(session, ADMIN, user, name="t", scopes=["alerts:read"], days=1)
            for _ in range(sessions.MAX_TOKENS)
        ]
    with registry.transaction() as session, pytest.raises(BadInputError, match="revoke one"):
        sessions.create_token(session, ADMIN, users.get_user(session, anna), name="t", scopes=["alerts:read"], days=1)
    token, secret = made[0]
    with registry.transaction() as session, pytest.raises(NotFoundError):
        sessions.revoke_token(session, ADMIN, "somebody else", token.id)
    with registry.transaction() as session:
        sessions.revoke_token(session, ADMIN, anna, token.id)
    assert sessions.of_token(registry, secret, address=ADDRESS) is None


def test_the_first_start_makes_one_admin(registry: Registry) -> None:
    with ThreadPoolExecutor(4) as pool:

        def start() -> str | None:
            with registry.transaction() as session:
                return users.first_admin(session)

        secrets = [one.result() for one in [pool.submit(start) for _ in range(4)]]

    (secret,) = [one for one in secrets if one]
    with registry.transaction() as session:
        admin = users.use_link(session, secret, PASSWORD, address=ADDRESS)
        assert (admin.name, admin.role) == ("admin", "admin")
        assert users.first_admin(session) is None


def test_somebody_can_always_administer(registry: Registry) -> None:
    with registry.transaction() as session:
        one = users.create_user(session, ADMIN, name="one", role="admin").id
    for changed in ({"disabled": True, "role": "admin"}, {"role": "operator"}):
        with pytest.raises(BadInputError, match="the only admin left"):
            change(registry, one, **changed)
    with registry.transaction() as session:
        two = users.create_user(session, ADMIN, name="two", role="admin").id

    def step_down(user_id: str) -> bool:
        try:
            change(registry, user_id, role="operator")
        except Exception:  # noqa: BLE001 - refused, or a deadlock that the database ends
            return False
        return True

    for _ in range(5):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(step_down, (one, two)))
        with registry.reading() as session:
            left = session.scalars(select(User).where(User.role == "admin")).all()
        assert left
        for user_id in (one, two):
            change(registry, user_id, role="admin")

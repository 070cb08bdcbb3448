from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.deliveries import FIRST_RETRY_S, MAX_ATTEMPTS, MAX_RETRY_S, retry_delay_s, sign

ATTEMPTS = st.integers(1, 10_000)
JITTER = st.floats(0, 1)

#: The example that the libraries of the Standard Webhooks specification test themselves with
#: (standard-webhooks/standard-webhooks, libraries/python/tests/test_webhooks.py, `test_sign_function`).
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP_S = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_signs_as_the_specification_does() -> None:
    assert sign(SECRET, MESSAGE, TIMESTAMP_S, BODY) == SIGNATURE


def test_the_prefix_of_the_secret_is_not_part_of_the_key() -> None:
    assert sign(SECRET.removeprefix("whsec_"), MESSAGE, TIMESTAMP_S, BODY) == SIGNATURE


@pytest.mark.parametrize(
    ("secret", "message", "timestamp_s", "body"),
    [
        ("whsec_" + base64.b64encode(b"another key").decode(), MESSAGE, TIMESTAMP_S, BODY),
        (SECRET, "msg_other", TIMESTAMP_S, BODY),
        (SECRET, MESSAGE, TIMESTAMP_S + 1, BODY),
        (SECRET, MESSAGE, TIMESTAMP_S, BODY + b" "),
    ],
    ids=["key", "id", "time", "body"],
)
def test_each_part_is_signed(secret: str, message: str, timestamp_s: int, body: bytes) -> None:
    assert sign(secret, message, timestamp_s, body) != SIGNATURE


@given(ATTEMPTS, JITTER)
def test_a_wait_is_near_its_nominal_length_and_never_too_long(attempts: int, jitter: float) -> None:
    nominal_s = FIRST_RETRY_S * min(MAX_RETRY_S / FIRST_RETRY_S, 2 ** (attempts - 1))
    assert 0.75 * nominal_s <= retry_delay_s(attempts, jitter) <= 1.25 * nominal_s


@given(ATTEMPTS, JITTER)
def test_waits_grow(attempts: int, jitter: float) -> None:
    assert retry_delay_s(attempts + 1, jitter) >= retry_delay_s(attempts, jitter)


@given(ATTEMPTS)
def test_jitter_spreads(attempts: int) -> None:
    assert retry_delay_s(attempts, 0) < retry_delay_s(attempts, 0.5) < retry_delay_s(attempts, 1)


def test_somebody_who_is_away_for_half_a_day_is_not_given_up() -> None:
    hours = sum(retry_delay_s(attempt, 0.5) for attempt in range(1, MAX_ATTEMPTS)) / 3600
    assert hours == pytest.approx(15, abs=0.5)

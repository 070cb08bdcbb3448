from __future__ import annotations

import pytest

from lookout.alerts.webhooks import check_url, is_link_local
from lookout.errors import BadInputError


@pytest.mark.parametrize(
    "address",
    [
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "fe80::1",
        "febf::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
    ],
)
def test_link_local(address: str) -> None:
    assert is_link_local(address)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.0.0.1", "169.253.0.1", "169.255.0.1", "::ffff:10.0.0.1", "example.org"],
)
def test_not_link_local(address: str) -> None:
    assert not is_link_local(address)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://example.org/hook", "https://example.org/hook"),
        (" https://EXAMPLE.org/hook?a=1 ", "https://example.org/hook?a=1"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://user:hush@10.0.0.1/", "http://user:hush@10.0.0.1/"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
    ],
)
def test_a_url_is_kept_in_its_normal_form(given: str, kept: str) -> None:
    assert check_url(given) == kept
    assert check_url(kept) == kept


def test_a_refusal_shows_no_password() -> None:
    with pytest.raises(BadInputError) as refused:
        check_url("ftp://user:hush@example.org/?token=hush")
    assert "hush" not in str(refused.value)

"""The API's description is whole, and whatever it allows is answered without a fault of the server's."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from sqlalchemy.engine import make_url

from lookout.accounts.rights import SCOPES
from lookout.accounts.sessions import create_token
from lookout.accounts.users import create_user
from lookout.audit import SYSTEM
from lookout.clock import now_us
from lookout.sealing import Keyring
from lookout.settings import Settings
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Watchlist
from search.app import create_app
from search.parts import Parts
from tests import servers

#: Of each operation, always the same ones.
EXAMPLES = 15
#: Answers that never end.
STREAMS = ("/api/v1/alerts/events",)


def description() -> dict[str, Any]:
    """The description, which needs none of the parts."""
    return create_app(Parts(Settings())).openapi()


def operations() -> dict[str, Any]:
    """All operations as Schemathesis reads them, by method and path."""
    schema = schemathesis.openapi.from_dict(description()).exclude(path=list(STREAMS))
    found = (result.ok() for result in schema.get_all_operations() if isinstance(result, Ok))
    return {operation.label: operation for operation in found}


OPERATIONS = operations()


@pytest.fixture(scope="module")
def app(
    tmp_path_factory: pytest.TempPathFactory, valkey_server: servers.Server, milvus_server: servers.Server
) -> FastAPI:
    """The service with all its real parts and a watchlist."""
    home = tmp_path_factory.mktemp("home")
    url = f"sqlite:///{home / 'registry.db'}"
    Registry(make_url(url)).migrate()
    parts = Parts(
        Settings(
            home=home,
            redis_url=SecretStr(valkey_server.url),
            milvus_uri=milvus_server.url,
            database_url=url,
            data_keys=SecretStr(Keyring.new_key()),
        )
    )
    with parts.registry.transaction() as session:
        session.add(Watchlist(name="guests", purpose="Greeting", legal_basis="Consent", created_at_us=now_us()))
    return create_app(parts)


@pytest.fixture(scope="module")
def token(app: FastAPI) -> str:
    """A token of an admin, for everything."""
    with app.state.parts.registry.transaction() as session:
        user = create_user(session, SYSTEM, name="tester", role="admin")
        return create_token(session, SYSTEM, user, name="tests", scopes=list(SCOPES), days=1)[1]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_input_is_a_fault_of_the_server(operation: str, app: FastAPI, token: str) -> None:
    """Whatever is sent, the answer is not 5xx."""

    @given(st.data())
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    def send(data: st.DataObject) -> None:
        case = data.draw(OPERATIONS[operation].as_strategy())
        response = case.call(app=app, headers={"Authorization": f"Bearer {token}"})
        case.validate_response(response, checks=[not_a_server_error])

    send()


def test_every_operation_says_how_to_authenticate() -> None:
    described = description()
    assert described["openapi"].startswith("3.1")
    schemes = set(described["components"]["securitySchemes"])
    for path, methods in described["paths"].items():
        assert path.startswith("/api/v1/"), path
        for method, operation in methods.items():
            offered = {name for one in operation.get("security", []) for name in one}
            assert offered == schemes, f"{method} {path}"

from __future__ import annotations

import pytest

from services.api_gateway.errors import NotAllowed, NotSignedIn
from services.api_gateway.principal import Principal, local_admin, principal_of


def test_a_token_without_roles_is_a_users_and_charges_the_default_account() -> None:
    assert principal_of({"sub": "ada"}, "roles") == Principal("ada", frozenset({"user"}), frozenset({"default"}))


def test_an_admin_may_charge_any_account_whatever_the_token_names() -> None:
    assert principal_of({"sub": "ada", "roles": ["admin"]}, "roles").accounts is None
    named = principal_of({"sub": "ada", "roles": ["admin"], "accounts": ["team"]}, "roles")
    assert named.accounts is None


def test_roles_are_found_where_an_issuer_puts_them() -> None:
    keycloak = {"sub": "ada", "realm_access": {"roles": ["offline_access", "admin"]}}
    assert principal_of(keycloak, "realm_access.roles").roles == {"admin"}
    assert principal_of({"sub": "ada", "scope": "read admin"}, "scope").roles == {"admin"}


@pytest.mark.parametrize("roles", ["administrator", ["ADMIN"], {"admin": True}, 7, [["admin"]], None])
def test_what_only_looks_like_a_role_makes_nobody_an_admin(roles: object) -> None:
    assert not principal_of({"sub": "ada", "roles": roles}, "roles").is_admin


@pytest.mark.parametrize("claims", [{}, {"sub": ""}, {"sub": 7}, {"sub": "a\x00b"}, {"sub": "x" * 201}])
def test_a_token_of_nobody_is_none(claims: dict[str, object]) -> None:
    with pytest.raises(NotSignedIn):
        principal_of(claims, "roles")


@pytest.mark.parametrize("accounts", ["default", [7], {"default": True}])
def test_accounts_are_a_list_of_names(accounts: object) -> None:
    with pytest.raises(NotSignedIn):
        principal_of({"sub": "ada", "accounts": accounts}, "roles")


def test_accounts_of_others_are_not_theirs_and_any_is_an_admins() -> None:
    user = principal_of({"sub": "ada", "accounts": ["team"]}, "roles")
    user.must_have_account("team")
    with pytest.raises(NotAllowed, match="default"):
        user.must_have_account("default")
    with pytest.raises(NotAllowed):
        user.must_be_admin()
    local_admin("local").must_have_account("any")
    local_admin("local").must_be_admin()

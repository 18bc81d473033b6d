"""Who sits at the desk, and what each role may do there."""

from dataclasses import dataclass

from certflow.logins import APPROVER, AUDITOR, OPERATOR, VIEWER, Login

ROLES = {
    VIEWER: ("查看", frozenset({VIEWER})),
    OPERATOR: ("经办", frozenset({VIEWER, OPERATOR})),
    APPROVER: ("审批", frozenset({VIEWER, APPROVER})),
    AUDITOR: ("审计", frozenset({VIEWER, AUDITOR})),
}
"""Role → its name on the pages, and the roles it can stand in for. A city's verifier has no place at the desk."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody logged in; `account` names the only city they see, "" is the whole province."""

    name: str
    roles: frozenset[str]
    account: str = ""

    def may(self, *roles: str, province: bool = False) -> bool:
        """Whether they can stand in for one of these roles, and see the whole province where that is needed."""
        held = {stood for role in self.roles if role in ROLES for stood in ROLES[role][1]}
        return bool(held & set(roles)) and not (province and self.account)

    @property
    def titles(self) -> str:
        """Their roles in words."""
        return "、".join(title for role, (title, _) in ROLES.items() if role in self.roles)


def person(login: Login | None, name: str) -> Person:
    """The person of an Airflow login; one who stands in no file, or only verifies, has no role here."""
    return Person(name, login.roles & ROLES.keys(), login.account) if login else Person(name, frozenset())

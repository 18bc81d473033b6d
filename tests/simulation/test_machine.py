"""City, worker, authority, operator and post in any order: no invariant is ever broken."""

import random
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from round_trip import ACCOUNTS, Province, province

STATES = st.sampled_from(("ACCEPTED", "ACCEPTED", "ACCEPTED", "HELD", "RETURNED"))
CITY = st.sampled_from(ACCOUNTS[:3])
CHOICE = st.integers(0, 99)


def machine(postgres):  # noqa: C901 (one class of short rules)
    """A machine whose every run has a province of its own on the server `postgres`."""

    class RoundTrip(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.stack = ExitStack()
            folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
            self.province: Province = self.stack.enter_context(province(postgres, folder))

        @rule(account=CITY, states=st.lists(STATES, min_size=1, max_size=3))
        def city_uploads(self, account, states):
            self.province.upload(account, states)

        @rule()
        def city_uploads_again(self):
            self.province.upload_again()

        @rule(choice=CHOICE, account=CITY)
        def city_corrects(self, choice, account):
            self.province.correct(choice, account)

        @rule(choice=CHOICE, state=st.sampled_from(("ACCEPTED", "RETURNED")))
        def operator_decides(self, choice, state):
            self.province.decide(choice, state)

        @precondition(lambda self: self.province.rows)
        @rule(decision=st.sampled_from(("approve", "approve", "approve", "reject", "wait")))
        def month_is_prepared(self, decision):
            self.province.prepare(decision)

        @rule(life=st.integers(0, 16))
        def worker_sends_and_may_die(self, life):
            self.province.send(life)

        @rule()
        def month_goes_from_beginning_to_end(self):
            self.province.upload("370100", ["ACCEPTED"] * 2)
            self.province.prepare("approve")
            self.province.send()

        @rule()
        def operator_asks_about_packages_in_doubt(self):
            self.province.resolve()

        @rule()
        def next_month_begins(self):
            self.province.month = self.province.month.plus(1)

        @rule(seed=CHOICE)
        def authority_answers(self, seed):
            self.province.answer(random.Random(seed))

        @precondition(lambda self: self.province.files)
        @rule(choice=CHOICE, die=st.booleans())
        def return_is_taken(self, choice, die):
            self.province.take(self.province.files[choice % len(self.province.files)], die=die)

        @precondition(lambda self: self.province.files)
        @rule(choice=CHOICE)
        def return_arrives_twice(self, choice):
            for _ in range(2):
                self.province.take(self.province.files[choice % len(self.province.files)])

        @precondition(lambda self: self.province.applied)
        @rule(choice=CHOICE)
        def return_is_undone(self, choice):
            self.province.take_back(choice)

        @precondition(lambda self: self.province.applied)
        @rule(seed=CHOICE)
        def paper_is_delivered(self, seed):
            self.province.deliver(random.Random(seed))

        @invariant()
        def the_books_agree(self):
            self.province.check()

        def teardown(self):
            try:
                self.province.examine()
            finally:
                self.stack.close()

    return RoundTrip


@pytest.mark.parametrize("runs", [pytest.param(50, id="50"), pytest.param(1_000, id="1000", marks=pytest.mark.long)])
def test_no_order_of_events_breaks_an_invariant(postgres, runs):
    run_state_machine_as_test(
        machine(postgres),
        settings=settings(
            max_examples=runs, stateful_step_count=15, deadline=None, derandomize=runs == 50,
            suppress_health_check=list(HealthCheck), print_blob=False, database=None,
        ),
    )  # fmt: skip

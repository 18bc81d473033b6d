"""Whoever takes a return in, or takes it back, may die before any statement: run again, it counts exactly once."""

import itertools
import multiprocessing

import killed
import pytest
from returned import HEADER, events, in_force, printed, refused, sent
from small_month import Person, SmallMonth

from certflow.registry import return_answers
from certflow.registry.doctor import examine

PAIRS = 100
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    parts = ("dispatch.send", "dispatch.assemble", "registry.upgrade", "returns.answers", "returns.undo")
    context.set_forkserver_preload([*(f"certflow.{part}" for part in parts), "openpyxl", "psycopg"])
    return context


@pytest.fixture
def clerk(settings, registry, actor, processes):
    return Clerk(settings, registry, actor, processes)


class Clerk:
    """Takes returns about pairs of people: the one is printed, the other refused."""

    def __init__(self, settings, registry, actor, processes):
        self.settings, self.registry, self.processes = settings, registry, processes
        people = [Person(number, photo=None) for number in range(2 * PAIRS)]
        self.month = SmallMonth(settings, registry)
        ids = sent(settings, registry, actor, self.month, people)
        self.pairs = [(people[at : at + 2], ids[at : at + 2]) for at in range(0, 2 * PAIRS, 2)]

    def file(self, pair):
        one, two = self.pairs[pair][0]
        path = self.settings.home.parent / f"returned-{pair}.csv"
        path.write_text("\n".join((HEADER, printed(one), refused(two), "")), encoding="utf-8")
        return path

    def dies(self, target, what, k):
        """Whether a process of its own died on its way."""
        process = self.processes.Process(target=target, args=(self.settings, what, k))
        process.start()
        process.join(120)
        assert process.exitcode in (0, killed.DIED), k
        return process.exitcode == killed.DIED

    def states(self, pair):
        return self.month.states(self.pairs[pair][1])

    def prints(self, pair):
        serial = f"SD{self.pairs[pair][0][0].number}"
        return [mark for name, mark, _ in events(self.registry) if name == serial]

    def lists(self):
        return sorted(path.name for path in self.settings.feedback.rglob("*") if path.is_file())

    def leftovers(self):
        places = (self.settings.work, self.settings.feedback, self.settings.originals)
        return [path.name for place in places for path in place.rglob("*") if path.is_file() and odd(path)]

    def tell(self):
        """The cities have what was owed to them."""
        with self.registry.begin(self.month.actor) as conn:
            for answer in return_answers.owed(conn):
                return_answers.told(conn, answer)

    def healthy(self):
        assert {name: lines for name, lines in examine(self.registry, self.settings).items() if lines} == {}
        return True


def odd(path):
    return path.suffix not in (".xlsx", ".txt", ".bin") or path.name.startswith(".")


def test_f26_killed_before_any_statement_a_return_is_applied_exactly_once(clerk):
    for pair in itertools.count():
        died = clerk.dies(killed.take_return_and_die, clerk.file(pair), pair + 1)
        assert clerk.states(pair) in (["SENT", "SENT"], ["PRINTED", "REFUSED"]), pair
        killed.take_return(clerk.settings, clerk.registry, clerk.file(pair))
        assert clerk.states(pair) == ["PRINTED", "REFUSED"], pair
        assert clerk.prints(pair) == [""], pair
        assert len(clerk.lists()) == pair + 1
        assert pair % 10 or clerk.healthy()
        clerk.tell()  # what is owed is written by every run until the city has it
        if not died:
            break
    assert pair > 40
    assert clerk.leftovers() == []
    assert clerk.healthy()


def test_f26_killed_before_any_statement_a_return_is_taken_back_exactly_once(clerk):
    before = in_force(clerk.registry)
    for pair in itertools.count():
        number = killed.take_return(clerk.settings, clerk.registry, clerk.file(pair))
        with clerk.registry.begin(clerk.month.actor) as conn:
            return_answers.told(conn, return_answers.owed(conn)[0])  # the city has it: it is owed a recall
        died = clerk.dies(killed.take_back_and_die, number, pair + 1)
        assert clerk.states(pair) in (["SENT", "SENT"], ["PRINTED", "REFUSED"]), pair
        killed.take_back(clerk.settings, clerk.registry, number)
        assert clerk.states(pair) == ["SENT", "SENT"], pair
        assert clerk.prints(pair) == ["", "撤销"], pair
        assert len(clerk.lists()) == 2 * (pair + 1)
        assert pair % 10 or clerk.healthy()
        clerk.tell()
        if not died:
            break
    assert pair > 20
    assert in_force(clerk.registry) == before
    assert clerk.leftovers() == []
    assert clerk.healthy()

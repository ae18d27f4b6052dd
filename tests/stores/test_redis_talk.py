"""What is said to a Redis that does not answer as it should, without any."""

from itertools import count
from typing import Any

import pytest

from rxllm._stores._protocol import Create, Renew, Verdict
from rxllm._stores._redis_talk import Ask, Broken, Pause, Refused, Talk
from rxllm.exceptions import APIConnectionError


class Clock:
    """Time that passes only where somebody pauses."""

    def __init__(self) -> None:
        self.now = 0.0

    def talk(self, patience: float) -> Talk:
        """How a store talks by this clock."""
        return Talk("redis://***@host", "rxllm:", 3600, 10, patience, lambda text: text.replace("pw", "***"), self.read)

    def read(self) -> float:
        """The time."""
        return self.now

    def drive(self, steps: Any, answers: Any) -> Any:
        """Answers each question, and lets the time of each pause pass."""
        told = None
        while True:
            try:
                step = steps.send(told)
            except StopIteration as stop:
                return stop.value
            told = None
            if isinstance(step, Pause):
                self.now += step.seconds
            else:
                assert isinstance(step, Ask)
                told = next(answers)


def test_it_asks_again_until_its_patience_is_over() -> None:
    """Ever more rarely, then in a typed error that shows no secret."""
    clock, asked = Clock(), count()
    gone = (Broken(f"no route with pw, {number}", passing=True) for number in asked)
    with pytest.raises(APIConnectionError, match=r"redis://\*\*\*@host .* for 30 s: no route with \*\*\*") as caught:
        clock.drive(clock.talk(30).perform(Renew("a", "t")), gone)
    assert caught.value.code == "unreachable"
    assert 28.9 <= clock.now <= 30
    assert 30 <= next(asked) <= 70


def test_its_patience_begins_anew_with_each_failure() -> None:
    """What was answered in between counts for nothing later."""
    clock = Clock()
    talk = clock.talk(1)
    for _ in range(20):
        answers = iter([Broken("gone", passing=True), Broken("gone", passing=True), [b"done"]])
        assert clock.drive(talk.perform(Renew("a", "t")), answers) == Verdict("done")


@pytest.mark.parametrize("name", ["ReadOnlyError", "ClusterDownError", "TryAgainError", "MasterDownError"])
def test_a_redis_that_is_changing_is_asked_again(name: str) -> None:
    """What it refuses for a moment, it may do the next."""
    answers = iter([Refused(name, "not now"), Refused(name, "not now"), [b"taken"]])
    assert Clock().drive(Clock().talk(1).perform(Create("a", "t")), answers) == Verdict("taken")


@pytest.mark.parametrize("answer", [Refused("OutOfMemoryError", "no room"), Broken("WRONGPASS", passing=False)])
def test_what_will_not_pass_is_told_at_once(answer: Any) -> None:
    """Nobody waits for what does not come."""
    clock = Clock()
    with pytest.raises(APIConnectionError, match=r"no room|WRONGPASS"):
        clock.drive(clock.talk(30).perform(Create("a", "t")), iter([answer] * 2))
    assert clock.now == 0


def test_a_script_that_redis_does_not_know_is_sent_along() -> None:
    """After a restart, a flush, or with another Redis."""
    asked: list[Any] = []
    steps = Clock().talk(1).perform(Create("a", "t"))
    asked.append(next(steps))
    asked.append(steps.send(Refused("NoScriptError", "no such script")))
    with pytest.raises(StopIteration) as stop:
        steps.send([b"done"])
    assert stop.value.value == Verdict("done")
    assert [ask.arguments[0] for ask in asked] == ["EVALSHA", "EVAL"]
    assert asked[0].arguments[2:] == asked[1].arguments[2:]

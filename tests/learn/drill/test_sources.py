"""What a question shows as its source can be read, and run, alone."""

from eyeline.learn.drill.sources import source_of


def base():
    return 2.0


def power(exponent):
    return base() ** exponent


def unused():
    return 0


def demo():
    return {"answer": max(power(n) for n in range(4))}


def test_helpers_come_before_what_calls_them():
    text = source_of(demo)
    names = [line.split("(")[0] for line in text.splitlines() if line.startswith("def ")]
    assert names == ["def base", "def power", "def demo"] and "unused" not in text
    scope = {}
    exec(text, scope)
    assert scope["demo"]() == demo() == {"answer": 8.0}


def test_one_that_calls_itself():
    def again(n=3):
        return {"answer": 0.0 if n == 0 else again(n - 1)["answer"]}

    assert source_of(again).startswith("def again")

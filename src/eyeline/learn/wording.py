"""What went wrong in a learner's process, in sentences a beginner understands."""

from typing import Any

from eyeline.learn.sandbox import Limits, Reply

__all__ = ["explain_error", "explain_stop"]

_LONG = 300

_QUESTIONS = (
    (
        ("mat1 and mat2 shapes", "size of tensor a", "expected size for first two dimensions"),
        "Which two axes must have the same size there? print(x.shape) shows what they are.",
    ),
    (
        ("view size is not compatible",),
        "view needs numbers that lie in order: transpose breaks that. What mends it?",
    ),
    (("same dtype", "expected scalar type"), "Make new tensors with dtype=x.dtype."),
    (
        ("invalid for input of size",),
        "The sizes you ask for do not multiply to as many numbers as there are.",
    ),
    (("shape of the mask",), "x[mask] = … needs a mask of x's own shape. What broadcasts?"),
    (("got float",), "Did a / make a float? // keeps whole numbers whole."),
    (('arguments: "dim"',), "Along which axis? The keys are the last one."),
    (("only one element tensors", "only tensors with one element"), "float(x) takes one number."),
    (("1d tensors expected",), "torch.dot takes two vectors. What takes all pairs at once?"),
)
"""Words of torch's messages, in small letters, and what to think about when they appear."""


def explain_stop(reply: Reply, limits: Limits) -> tuple[str, str]:
    """A sentence on why the process was ended, and a question."""
    match reply.stopped:
        case "time":
            return (
                f"Your code did not finish within {limits.seconds:g} s and was stopped.",
                "Is there a loop that never ends? The tensors here are tiny.",
            )
        case "printed":
            size = limits.printed >> 10
            return (
                f"Your code printed more than {size} kB and was stopped.",
                "Is there a print inside a loop?",
            )
        case "answer":
            size = limits.answer >> 20
            return (
                f"Your function returned more than {size} MB and was stopped.",
                "Is the shape the one that is asked for?",
            )
        case "ended":
            code = "" if reply.exit_code is None else f" (exit status {reply.exit_code})"
            return (
                f"Your code ended the Python process before it returned{code}.",
                "Is there an exit(), or did it take all the memory?",
            )
        case _:
            return (
                "What came back was no answer.",
                "Does the code write to files that it did not open?",
            )


def explain_error(told: dict[str, Any]) -> tuple[str, tuple[str, ...], str | None]:
    """A sentence on what was raised, where, and a question that leads on."""
    kind, message = str(told.get("type")), " ".join(str(told.get("message")).split())[:_LONG]
    number, line = told.get("number"), str(told.get("line"))[:_LONG]
    where = f" in line {number}" if number else ""
    evidence = (f"line {number}:  {line}",) if line and number else ()
    lower = message.lower()
    if kind == "MemoryError" or "can't allocate memory" in lower:
        return (
            f"Your code asked for more memory than it may take{where}.",
            evidence,
            "The tensors here are tiny: is a shape much larger than it should be?",
        )
    if kind in ("SyntaxError", "IndentationError", "TabError"):
        return f"Python cannot read your file{where}: {message}.", evidence, None
    if kind in ("SystemExit", "KeyboardInterrupt"):
        return f"Your code left the program ({kind}){where}.", evidence, "Is there an exit()?"
    if kind == "PermissionError" or "read-only file system" in lower:
        return (
            f"Your code did something that is not allowed here{where}: {message}.",
            evidence,
            "An exercise needs no files, no network and no other programs.",
        )
    question = _question(kind, lower)
    if kind == "TypeError" and not number and "argument" in lower:  # at the call, not inside
        question = "Keep the arguments of the function as they were in the file."
    return f"Your code raised {kind}{where}: {message}", evidence, question


def _question(kind: str, message: str) -> str | None:
    if kind == "NameError":
        return "Is something missing from the imports at the top, or misspelt?"
    return next((ask for words, ask in _QUESTIONS if any(word in message for word in words)), None)

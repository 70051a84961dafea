from pathlib import Path

from eyeline._errors import CheckpointError, EyelineError, ModelNotFound, one_line


def test_a_checkpoint_error_is_one_line_of_its_parts():
    error = CheckpointError("a/b", "rank", 9, limit="1 to 8", fix="fetch it again")
    assert str(error) == "a/b: rank: found 9 (expected 1 to 8); fetch it again"
    assert (error.path, error.what, error.found) == (Path("a/b"), "rank", 9)
    assert (error.limit, error.fix) == ("1 to 8", "fetch it again")
    assert str(CheckpointError("a", "rank", 9)) == "a: rank: found 9"


def test_all_are_the_users_business():
    assert issubclass(CheckpointError, EyelineError) and issubclass(ModelNotFound, EyelineError)


def test_a_message_is_one_printable_line():
    assert one_line("a\n  b\x1b[31m\tc") == "a b?[31m c"
    assert str(EyelineError("a\nb")) == "a b"

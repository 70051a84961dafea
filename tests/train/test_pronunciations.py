"""A dictionary read, cut into words for training and words that are held out."""

import pytest

from eyeline import EyelineError
from eyeline.train.pronunciations import Word, inflections, is_near, read_dictionary, split

LINES = """\
'bout B AW1 T
cat K AE1 T
cat(2) K AA1 T
read R EH1 D # past
read(2) R IY1 D
read(3) R EH0 D
naïve N AY IY1 V
"""


def test_stress_goes_and_pronunciations_stay_apart(tmp_path):
    (tmp_path / "dict").write_text(LINES, encoding="utf-8")
    words = read_dictionary(tmp_path / "dict")
    assert words == [
        Word("'bout", (("B", "AW", "T"),)),
        Word("cat", (("K", "AE", "T"), ("K", "AA", "T"))),
        Word("read", (("R", "EH", "D"), ("R", "IY", "D"))),
    ]


def test_a_file_without_such_lines_is_refused(tmp_path):
    (tmp_path / "dict").write_text("nothing here", encoding="utf-8")
    with pytest.raises(EyelineError, match="like 'cat K AE1 T'"):
        read_dictionary(tmp_path / "dict")


def test_a_word_stays_where_it_is_whatever_else_there_is():
    words = [Word(f"word{n}", ()) for n in range(4000)]
    whole, half = split(words, seed=1), split(words[::2], seed=1)
    assert set(half.test) == set(whole.test) & set(words[::2])
    assert len(whole.train) + len(whole.check) + len(whole.test) == 4000
    assert 150 < len(whole.test) < 250 and 60 < len(whole.check) < 140
    assert set(split(words, seed=2).test) != set(whole.test)


@pytest.mark.parametrize(
    "word, stem", [("cats", "cat"), ("making", "make"), ("cities", "city"), ("cat's", "cat")]
)
def test_inflections(word, stem):
    assert stem in set(inflections(word))
    assert is_near(word, {stem}) and is_near(stem, {word}) == (word in (stem + "s", stem + "'s"))


def test_other_words_are_not_near():
    assert not is_near("table", {"cat", "stable", "tab"})

"""Labels that can be read and shown anywhere, and every way to name a token."""

import pytest

import _tiny_models as tiny
from eyeline.tokens import Token, TokenNotFound, find_token, ids_to_tokens, name_of, read_tokens


def tokens_of(text: str, kind: str = "wordpiece") -> list[Token]:
    tokenizer = tiny.tokenizer(kind)
    encoding = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    return read_tokens(text, encoding, tokenizer)


def labels(text: str, kind: str) -> list[str]:
    return [t.label for t in tokens_of(text, kind)]


@pytest.mark.parametrize("kind", ["wordpiece", "bytes", "unigram"])
@pytest.mark.parametrize(
    "text",
    ["it was  it", "a 🙂 東京\n\nb", "\x1b[31mred\x07 \x9b1m\u202e", "e\u0301 ﬁn Ⅳ ½", " 👨‍👩‍👧 "],
)
def test_labels_are_never_empty_and_never_obeyed_by_a_terminal(text, kind):
    for token in tokens_of(text, kind):
        assert token.label.strip()
        assert all(c.isprintable() or c in "\u200c\u200d" for c in token.label)
        assert (token.start, token.end) == (-1, -1) or 0 <= token.start < token.end <= len(text)


def test_bytes_of_a_character_are_numbered():
    assert labels("a🙂", "bytes") == ["a", "🙂 1/4", "🙂 2/4", "🙂 3/4", "🙂 4/4"]
    assert labels("東京", "bytes") == [f"{c} {n}/3" for c in "東京" for n in (1, 2, 3)]


def test_a_piece_that_overlaps_a_split_character_is_part_of_it():
    class Tokenizer:
        def convert_ids_to_tokens(self, ids):
            return ["Ġð", "ŁĻ", "Ĥ", "x"]

    encoding = {
        "input_ids": [1, 2, 3, 4],
        "offset_mapping": [(1, 3), (2, 3), (2, 3), (3, 4)],
        "special_tokens_mask": [0, 0, 0, 0],
    }
    found = read_tokens("a 🙂x", encoding, Tokenizer())
    assert [t.label for t in found] == ["🙂 1/3", "🙂 2/3", "🙂 3/3", "x"]


def test_blanks_and_controls_are_pictures():
    assert labels("a\n\nb", "unigram") == ["a", "⏎⏎", "b", "</s>"]
    assert "␛" in labels("\x1b[31m", "bytes")
    assert labels("\u202e", "unigram")[-2] == "<U+202E>"


def test_accents_stay_on_their_letter_where_the_tokenizer_drops_them():
    assert labels("e\u0301 a", "wordpiece") == ["[CLS]", "e\u0301", "a", "[SEP]"]
    assert tokens_of("e\u0301", "wordpiece")[1].end == 2
    assert labels("e\u0301", "bytes") == ["e", "◌\u0301 1/2", "◌\u0301 2/2"]


def test_normalised_text_is_shown_as_it_was_written():
    assert labels("The ＡＮＩＭＡＬ", "wordpiece")[1] == "The"
    assert labels("ﬁn", "unigram")[-3:-1] == ["ﬁn 1/2", "ﬁn 2/2"]


def test_special_tokens_have_no_text():
    first, *_, last = tokens_of("it")
    assert (first.label, first.special, first.start) == ("[CLS]", True, -1)
    assert (last.label, last.special, last.end) == ("[SEP]", True, -1)


@pytest.mark.parametrize("text", ["a 🙂 it", "東京", "The animal"])
def test_made_tokens_read_like_read_ones(text):
    read = tokens_of(text, "bytes")
    made = ids_to_tokens([t.id for t in read], tiny.tokenizer("bytes"))
    assert [t.label for t in made] == [t.label for t in read]
    assert all((t.start, t.end) == (-1, -1) for t in made)


def test_made_tokens_of_half_a_character():
    ids = [t.id for t in tokens_of("🙂", "bytes")][:2]
    assert len(ids_to_tokens(ids, tiny.tokenizer("bytes"))) == 2


def test_a_number_beyond_the_tokenizer():
    assert ids_to_tokens([10_000], tiny.tokenizer("bytes"))[0].label == "<10000>"


TEXT = "It was 2024: it saw the Animal, it unhappily slept: it's 9 o:2"


@pytest.fixture(params=["wordpiece", "bytes"])
def tokens(request):
    return tokens_of(TEXT, request.param)


def test_a_name_finds_its_token_again(tokens):
    names = [name_of(tokens, token) for token in tokens]
    assert len(set(names)) == len(names) and {"it", "it:2", ":"} <= set(names)
    for token in tokens:
        if token.label not in ("2", "o", "9", "2024"):  # numbers in names are indices, too
            assert find_token(tokens, name_of(tokens, token)) is token


def test_by_index(tokens):
    assert find_token(tokens, 3) is tokens[3]
    assert find_token(tokens, "#3") is tokens[3]
    assert find_token(tokens, -1) is find_token(tokens, "#-1") is tokens[-1]
    for name in (len(tokens), f"#{len(tokens)}", -len(tokens) - 1):
        with pytest.raises(TokenNotFound, match=f"{len(tokens)} tokens, 0 to {len(tokens) - 1}"):
            find_token(tokens, name)


def test_by_text_and_occurrence(tokens):
    its = [t for t in tokens if t.label == "it"]
    assert [find_token(tokens, f"it:{n}") for n in (1, 2)] == its[:2]
    assert find_token(tokens, "it") is its[0]
    assert find_token(tokens, " it ") is its[0]
    assert find_token(tokens, "It").label == "It"
    assert find_token(tokens, "WAS").label == "was"
    with pytest.raises(TokenNotFound, match=r"'it' occurs 3 times .* 'it:1' to 'it:3'"):
        find_token(tokens, "it:7")
    with pytest.raises(TokenNotFound, match=r"'was' occurs once .* \(choose 'was'\)"):
        find_token(tokens, "was:0")


def test_a_number_in_the_text_is_that_token(tokens):
    assert find_token(tokens, "2024").label == "2024"
    assert find_token(tokens, "9").label == "9"
    assert find_token(tokens, "#9") is tokens[9]
    assert find_token(tokens, "10") is tokens[10]


def test_colons(tokens):
    colons = [t for t in tokens if t.label == ":"]
    assert find_token(tokens, ":") is colons[0]
    assert find_token(tokens, "::2") is colons[1]
    with pytest.raises(TokenNotFound, match="'o:2' is 3 tokens"):
        find_token(tokens_of("it o:2", "unigram"), "o:2")
    with pytest.raises(TokenNotFound):
        find_token(tokens, "it:")


def test_a_split_word_lists_its_parts():
    with pytest.raises(TokenNotFound, match=r"'weird' is \d tokens .* choose one of 'w") as error:
        find_token(tokens_of("a weird it"), "weird")
    assert "(#2)" in str(error.value)
    with pytest.raises(
        TokenNotFound, match=r"'🙂' is 4 tokens .* '🙂 1/4' \(#1\).*'🙂 4/4' \(#4\)"
    ):
        find_token(tokens_of("a🙂b", "bytes"), "🙂")
    with pytest.raises(TokenNotFound, match="'the animal' is 2 tokens"):
        find_token(tokens_of("The animal"), "the animal")


@pytest.mark.parametrize("name", ["animol", "ANIMALS", "anima"])
def test_near_misses(name):
    with pytest.raises(TokenNotFound, match=r"no token '.*': did you mean 'animal'"):
        find_token(tokens_of("The animal slept"), name)


def test_nothing_near_lists_the_tokens():
    with pytest.raises(TokenNotFound, match=r"its tokens are \[CLS\] The animal"):
        find_token(tokens_of("The animal"), "zzzz")
    with pytest.raises(TokenNotFound, match="no token ''"):
        find_token(tokens_of("The animal"), "")


def test_special_tokens_by_name_and_pieces():
    tokens = tokens_of("was it")
    assert find_token(tokens, "[CLS]").index == 0
    assert find_token(tokens, "[sep]").index == len(tokens) - 1
    with pytest.raises(TokenNotFound, match=r"did you mean '\[CLS\]'"):
        find_token(tokens, "CLS")
    assert find_token(tokens_of("was it", "bytes"), "Ġit").label == "it"


def test_how_an_accent_is_encoded_does_not_matter():
    assert find_token(tokens_of("é it"), "e\u0301").index == 1
    assert find_token(tokens_of("e\u0301 it"), "É").index == 1

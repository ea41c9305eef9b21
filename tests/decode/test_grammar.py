"""Grammars: read as llama.cpp reads them, walked byte by byte, and the same tokens allowed."""

from contextlib import closing
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgespec.decode.grammar import constraint as constraint_module
from edgespec.decode.grammar.automaton import Automaton
from edgespec.decode.grammar.byte_classes import class_of_ranges
from edgespec.decode.grammar.constraint import GrammarConstraint
from edgespec.decode.grammar.gbnf import read_gbnf
from edgespec.decode.grammar.vocabulary import vocabulary_of
from edgespec.errors import UsageError
from edgespec.llama.model import Model
from tests.decode.native_grammar import NativeGrammar

GRAMMARS = {
    "literal": 'root ::= "yes" | "no" | "not yet"',
    "list": 'root ::= item ("," " "? item)*\nitem ::= [a-z]+ | [0-9]{1,3}  # a comment\n',
    "text": 'root ::= "\\"" [^"\\\\]* "\\""',
    "letters": 'root ::= ([à-ü] | "日" "本"? | [\\U0001F600-\\U0001F64F]){2,5} .',
    "nested": 'root ::= value\nvalue ::= "[" (value (", " value)*)? "]" | "x"',
    "optional": 'root ::= a b c "."\na ::= "a"?\nb ::= "b"?\nc ::= "c"{0,2}',
    "lines": 'root ::= (\n  "one"\n  | "two"\n) "\\n" |\n "\\x41\\u0042"',
}


@pytest.fixture(params=["spm", "bpe"])
def model(request: pytest.FixtureRequest, target_model: Model, bpe_model: Model) -> Model:
    return target_model if request.param == "spm" else bpe_model


def constraint_of(model: Model, text: str) -> GrammarConstraint:
    return GrammarConstraint(Automaton(read_gbnf(text)), vocabulary_of(model))


def matches(text: str, said: str) -> bool:
    automaton = Automaton(read_gbnf(text))
    return automaton.walk(automaton.start, said.encode()).can_end


@pytest.mark.parametrize("name", GRAMMARS)
def test_the_same_tokens_are_allowed_as_by_llama_cpp(model: Model, name: str):
    compared = 0
    for seed in range(6):
        random, constraint = Random(seed), constraint_of(model, GRAMMARS[name])
        with closing(NativeGrammar(model, GRAMMARS[name])) as native:
            for _ in range(12):
                # Zero bytes are nothing in llama.cpp, and it lets parts of characters begin that no character ends.
                allowed = [t for t in range(model.n_vocab) if constraint.allows(t)]
                ours = {t for t in allowed if is_text(model, t)}
                assert ours == {t for t in native.allowed() if is_text(model, t)}
                compared += len(ours)
                going_on = [t for t in allowed if not model.is_end(t) and model.token_bytes(t) != b"\0"]
                if not going_on:
                    break
                token = random.choice(going_on)
                constraint.accept(token)
                native.accept(token)
    assert compared


def is_text(model: Model, token: int) -> bool:
    if model.is_end(token):
        return True
    try:
        return bool(model.token_bytes(token).decode().strip("\0"))
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize(
    ("text", "said", "fits"),
    [
        ('root ::= "a"{2,3} "b"', "aab", True),
        ('root ::= "a"{2,3} "b"', "aaaab", False),
        ('root ::= "ab"{2}', "abab", True),
        ('root ::= ("a" | "b")+ "c"?', "abba", True),
        ("root ::= [a-c-]", "-", True),
        ("root ::= [^a-c]", "b", False),
        ("root ::= [^a-c]", "ü", True),
        ('root ::= "" | other\nother ::= "x"', "", True),
        ('root ::= "😀"', "😀", True),
        ("root ::= .{2}", "日\n", True),
    ],
)
def test_a_text_matches_or_does_not(text: str, said: str, fits: bool):
    assert matches(text, said) is fits


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('start ::= "a"', "the grammar has no rule root"),
        ("root ::= other", "the grammar has no rule other"),
        ('root ::= "a', "line 1 of the grammar: a literal or a class is not closed"),
        ('root ::= "a"\nx ::= [a', "line 2 of the grammar: a literal or a class is not closed"),
        ('root ::= ("a"', "line 1 of the grammar: ) is expected"),
        ("root = x", "line 1 of the grammar: ::= is expected"),
        ("root ::= *", "line 1 of the grammar: nothing stands before *"),
        ('root ::= "a"{x}', "line 1 of the grammar: a repetition is {2}, {2,} or {2,4}"),
        ('root ::= "a"{3,1}', "line 1 of the grammar: {3,1} ends before it begins"),
        ('root ::= "a"{99999}', "line 1 of the grammar: {99999} repeats more than 10000 times"),
        ('root ::= "a"{9999}' + ' "a"{9999}' * 30, "the grammar has more than 200000 symbols"),
        ('root ::= "\\q"', "line 1 of the grammar: \\q is no escape"),
        ('root ::= "\\u12"', "line 1 of the grammar: \\u wants 4 hexadecimal digits"),
        ("root ::= <[12]>", "line 1 of the grammar: tokens in angle brackets are not supported"),
        ('root ::= root "a" | "a"', "rule root of the grammar begins with itself"),
        ('root ::= x\nx ::= "b"? y\ny ::= x | "a"', "rule x of the grammar begins with itself"),
        ('root ::= "a" root', "no text can match the grammar"),
        ("root ::= []", "no text can match the grammar"),
        (
            "root ::= " + "(" * 200 + '"a"' + ")" * 200,
            "line 1 of the grammar: it is nested deeper than 100 groups",
        ),
        ("", "the grammar has no rule root"),
    ],
)
def test_a_grammar_that_is_none_says_why_in_a_line(text: str, message: str):
    with pytest.raises(UsageError) as caught:
        read_gbnf(text)
    assert caught.value.message.startswith(message)
    assert "\n" not in caught.value.message


def test_a_grammar_of_too_many_ways_is_an_error_and_not_all_memory():
    automaton = Automaton(read_gbnf('root ::= "a" root "b" | "a" root "c" | "a"'))
    with pytest.raises(UsageError, match="more than 2000 ways"):
        automaton.walk(automaton.start, b"a" * 40)


def test_guesses_that_cannot_be_followed_are_none_and_the_answer_ends_with_an_error(model: Model):
    constraint = constraint_of(model, 'root ::= "a" root "b" | "a" root "c" | "a"')
    token = model.tokenize("a", add_special=False)[-1]
    assert model.token_bytes(token) == b"a"
    assert constraint.count_fitting([token] * 40) < 20
    assert constraint.forced([token] * 40) == []
    with pytest.raises(UsageError, match="more than 2000 ways"):
        constraint.insert([token] * 40)


def test_a_token_that_takes_too_long_to_find_is_an_error(model: Model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constraint_module, "_MOST_WORK", 20)
    constraint = constraint_of(model, GRAMMARS["list"])
    logits = np.zeros(model.n_vocab, np.float32)
    with pytest.raises(UsageError, match="takes too long to follow here"):
        constraint.fitting(logits)


def test_what_is_kept_of_a_long_text_stays_bounded():
    automaton = Automaton(read_gbnf('root ::= "[" root "]" | "x"'))
    state = automaton.walk(automaton.start, b"[" * 50_000 + b"x" + b"]" * 49_999)
    assert not state.can_end
    assert automaton.walk(state, b"]").can_end
    assert len(automaton._states) <= 20_001


@given(st.lists(st.tuples(st.characters(), st.characters()), max_size=4), st.booleans(), st.characters())
def test_a_class_holds_the_characters_of_its_ranges(pairs: list[tuple[str, str]], inverted: bool, char: str):
    ranges = [(ord(low), ord(high)) for low, high in pairs]
    inside = any(low <= ord(char) <= high for low, high in ranges)
    one = class_of_ranges(ranges, inverted=inverted)
    is_whole, rest = False, one
    for byte in char.encode():
        assert not is_whole
        is_whole, found = rest.step(byte) if rest else (False, None)
        rest = found
    assert is_whole is (inside is not inverted)


def test_the_likeliest_fitting_tokens_come_in_order_however_many_are_asked_for(model: Model):
    constraint = constraint_of(model, GRAMMARS["list"])
    logits = np.random.default_rng(1).standard_normal(model.n_vocab).astype(np.float32)
    wanted = sorted((t for t in range(model.n_vocab) if constraint.allows(t)), key=lambda t: (-logits[t], t))
    assert len(wanted) > 20
    for most in (1, 5, len(wanted), 2000):
        assert constraint.fitting(logits, most).tolist() == wanted[:most]


def test_a_tie_goes_to_the_lower_id(model: Model):
    constraint = constraint_of(model, GRAMMARS["list"])
    first = next(t for t in range(model.n_vocab) if constraint.allows(t))
    assert constraint.fitting(np.zeros(model.n_vocab, np.float32), 1).tolist() == [first]


def test_what_is_forced_are_the_tokens_of_the_text_and_then_of_the_end(model: Model):
    constraint = constraint_of(model, 'root ::= "the cat " ("sat" | "is") " here"')
    text = b"".join(map(model.token_bytes, constraint.forced()))
    assert text == b"the cat "
    for token in constraint.forced():
        assert constraint.allows(token)
        constraint.accept(token)
    assert constraint.forced() == []
    chain = [token for token in range(model.n_vocab) if constraint.allows(token)][:1]
    *more, end = constraint.forced(chain)
    said = model.token_bytes(chain[0]) + b"".join(map(model.token_bytes, more))
    assert said in (b"sat here", b"is here")
    assert model.is_end(end)
    assert constraint.count_fitting([*chain, *more, end]) == len(more) + 2
    assert constraint.count_fitting([*chain, *chain]) == 1


def test_text_that_nobody_picked_counts(model: Model):
    constraint = constraint_of(model, 'root ::= "one " "two"')
    constraint.insert(model.tokenize("one ", add_special=False))
    assert b"".join(map(model.token_bytes, constraint.forced()[:-1])) == b"two"
    constraint.reset()
    assert b"".join(map(model.token_bytes, constraint.forced()[:-1])) == b"one two"

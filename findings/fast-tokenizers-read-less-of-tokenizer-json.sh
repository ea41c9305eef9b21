#!/usr/bin/env bash
# tokie 0.1.4 and kitoken 0.11.1 against tokenizers 0.23.3, one tokenizer.json of a byte-level BPE; Python >= 3.11.
# Guessed: what calls itself a drop-in replacement that works with any tokenizer of HuggingFace (tokie), or compatible with them
# (kitoken), gives the ids of the tokenizers package, or refuses the file.
# Seen: each leaves out a setting of the file without a word. tokie takes no notice of add_prefix_space: every text begins with
# another token, or one less. kitoken takes none of an added token's single_word, lstrip and rstrip: "foo" is found in "foobar",
# and blanks that belong to a token before or after them (Phi-3's <|user|>, RoBERTa's <mask>) become tokens of their own. A
# count of tokens, a prompt, a draft's ids are then others. Compare on text that has such tokens. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check tokie==0.1.4 kitoken==0.11.1 tokenizers==0.23.3
cd "$work"
"$work/env/bin/python" - <<'PY'
import kitoken
import tokie
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers


def ids(text, add_prefix_space=False, added=None):
    """What the three make of one file."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    reference = Tokenizer(
        models.BPE(vocab={letter: token for token, letter in enumerate(letters)}, merges=[])
    )
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    reference.decoder = decoders.ByteLevel()
    if added is not None:
        reference.add_tokens([added])
    reference.save("tokenizer.json")
    return {
        "tokenizers": reference.encode(text, add_special_tokens=False).ids,
        "tokie": tokie.Tokenizer.from_json("tokenizer.json").encode(text, add_special_tokens=False).ids,
        "kitoken": kitoken.Kitoken.from_file("tokenizer.json").encode(text, True),
    }


for name, differs, seen in (
    ("plain", None, ids("a b")),
    ("add_prefix_space", "tokie", ids("a b", add_prefix_space=True)),
    ("single_word", "kitoken", ids("foobar", added=AddedToken("foo", single_word=True))),
    ("lstrip", "kitoken", ids("a <mask>", added=AddedToken("<mask>", lstrip=True))),
    ("rstrip", "kitoken", ids("<|user|> a", added=AddedToken("<|user|>", rstrip=True))),
):
    print(f"{name}: {seen}")
    others = [package for package in seen if list(seen[package]) != seen["tokenizers"]]
    assert others == ([differs] if differs else []), "changed"
PY

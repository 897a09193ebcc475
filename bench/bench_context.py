"""Token budgets on a whole book: what is left of the passage that answers, and how many tokens are saved.

    python bench/bench_context.py

Twenty questions of our own (and ten more, on which nothing was chosen) about William Morris, "News from Nowhere", a
public-domain text of 105,700 tokens by the estimate, each with words that stand in the passage that answers it, and
nowhere else. For each the book is brought to 1,500 tokens. A passage counts as kept when those words are there; the
share kept is that of the sentences around them (300 characters to either side).
"""

from __future__ import annotations

import re
import time

import headway
from common import emit, shared, spread

TOKENS_MAX = 1_500
AROUND_CHARS = 300
QUESTIONS = (
    ("What are the Houses of Parliament used for nowadays?", "storage place for manure"),
    ("Why are there nets for salmon in the Thames?", "we don't want salmon _every_ day"),
    ("When was the new bridge opened?", "at least opened, in 2003"),
    ("How old is the great-grandfather, the old man at the Museum?", "he is over a hundred and five"),
    ("What is the tobacco bag made of that the girl in the shop gives away?", "a red morocco bag"),
    ("What is kept in the National Gallery?", "mostly pictures, some very old"),
    ("When was the great battle in Trafalgar Square fought?", "fought on the spot itself in 1952"),
    ("What has become of the divorce courts?", "such lunatic affairs as divorce-courts"),
    ("What were the barges on the river driven by?", "That is one of our force-barges"),
    ("Who is the head carver of the unfinished house?", "she is our head carver"),
    ("What does the guest offer to the waterman as pay?", "I took a handful of money out of my pocket"),
    ("What does the man write novels about, and what is his weakness?", "writing reactionary novels"),
    ("What stood where the guest hall at Hammersmith is?", "lecture-room of the Hammersmith Socialists"),
    ("What is the reward of labour?", "The reward of labour is _life_"),
    ("Which forests do people live in through the summer?", "the Forest of Dean, or the northern wastes"),
    ("How did the Committee of Public Safety begin in London?", "old revolutionary name of the Committee"),
    ("Who pulled the sergeant back from the machine-gun?", "dragged him back by the collar"),
    ("What is there to see at Bisham?", "the remains of the old Abbey"),
    ("What is in the hall at Wallingford that old Henry Morsom shows?", "last days of the machine period"),
    ("What do the northern parts of America suffer from?", "the last days of civilisation"),
)
HELD_OUT = (
    ("Why were government factories established?", "the establishment of government factories"),
    ("What is the trade of the friend from Yorkshire?", "He is a weaver from Yorkshire"),
    ("Where did the guest leave his cash?", "to show to the pretty Annie"),
    ("What is it like when the waters are out at Runnymede?", "all Runnymede is flooded"),
    ("What did the eye-witness see wheeled out in front of the soldiers?", "three little machines being wheeled out"),
    ("How has Wallingford changed?", "all signs of squalor and poverty had disappeared"),
    ("What is the disease of not liking to work called?", "it may well be called Mulleygrubs"),
    ("Were bakers' shops robbed of their bread?", "several bakers' shops and other provision stores"),
    ("How does the river look about Maidenhead?", "once sorely be-cockneyed reaches"),
    (
        "What did the gardens up the water to Windsor look like in the old days?",
        "garden joined garden right up to Windsor",
    ),
)
"""Nothing was chosen on these."""


def flat(text: str) -> str:
    """Its words with one space between them: lines are wrapped by hand in the book."""
    return re.sub(r"\s+", " ", text)


def share_kept(book: str, words: str, cut: str) -> float:
    """The share of the sentences around the words that stand in the cut text."""
    at = book.index(words)
    around = book[max(0, at - AROUND_CHARS) : at + len(words) + AROUND_CHARS]
    sentences = re.split(r"(?<=[.!?]) ", around)[1:-1] or [words]
    return sum(sentence in cut for sentence in sentences) / len(sentences)


def measure(text: str, questions: tuple[tuple[str, str], ...], how: str, asked: float | None, what: str) -> None:
    """Bring the book under the bound for each question, and emit what became of the passages."""
    book = flat(text)
    kept, shares, times_s, tokens, before = 0, [], [], [], 0
    for question, words in questions:
        assert book.count(words) == 1, words
        began_s = time.perf_counter()
        fitted = headway.fit(text, tokens_max=TOKENS_MAX, how=how, query=question)
        times_s.append(time.perf_counter() - began_s)
        cut = flat(fitted.text)
        kept += words in cut
        shares.append(share_kept(book, words, cut))
        tokens.append(fitted.tokens)
        before = fitted.tokens_before
        assert fitted.tokens <= TOKENS_MAX
    emit(
        f"context: {how} to {TOKENS_MAX:,} tokens keeps the passage that answers, {what}",
        f"at least {asked}" if asked else "for comparison",
        kept / len(questions),
        reached=None if asked is None else kept / len(questions) >= asked,
        questions=len(questions),
        share_of_passage=round(sum(shares) / len(shares), 3),
        tokens_before=before,
        tokens_saved=round(1 - sum(tokens) / len(tokens) / before, 4),
        ms=spread([1_000 * one for one in times_s]),
    )


def main() -> None:
    """Three ways on the twenty questions, and two on the ten that nothing was chosen on."""
    text = shared("news_from_nowhere.txt").read_text("utf-8")
    for how, asked in (("truncate", None), ("sections", 0.75), ("top_k", 0.75)):
        measure(text, QUESTIONS, how, asked, "twenty questions")
    for how in ("sections", "top_k"):
        measure(text, HELD_OUT, how, 0.75, "ten held out")


if __name__ == "__main__":
    main()

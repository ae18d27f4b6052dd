"""The words of the simulated models: prose from a small grammar, the same for the same prompt and seed.

Text comes sentence by sentence, without end if that is what is asked for. Each piece starts where a tokenizer starts a
new word whatever came before, so that the tokens of the pieces are the tokens of the whole.
"""

import json
import re
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, cast

__all__ = ["answer", "reasoning", "report", "story", "topic_of"]

USUAL_WORDS = 200
VERY_LONG_WORDS = 2000

# Words that say what kind of text is wanted, not what it is to be about.
_KIND = frozenset(
    "a about an and answer article can chapter could create describe essay essays explain for generate give haiku "
    "i in is it joke list little long make me message my nice novel of on one page pages paragraph paragraphs "
    "piece please poem prose reply say sentence sentences short something some stories story tale tell text that "
    "the thing this to very want word words would write you your endless never ending without end simple small "
    "good new".split()
)

_ABOUT = re.compile(r"\b(?:about|on|of|regarding|concerning|explain(?:ing)?|describe|describing)\s+(.+)", re.IGNORECASE)
_DETERMINED = re.compile(
    r"\b(?:a|an|the|my|our|some|every|two|three)\s+(?:[^\W\d_][\w'’-]*\s+)??[^\W\d_][\w'’-]*"
    r"(?:\s+(?:in|of|from|at|with)\s+(?:the\s+|a\s+)?[^\W\d_][\w'’-]*)?",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"[.?!;:\n].*|,? (?:in|with|of|using|as|for) (?:about |around |at most |up to |exactly )?[\d,]+[ -]\w+.*"
    r"|,? in (?:the style|one|a single|a few|two|three) .*|,? please\b.*",
    re.DOTALL | re.IGNORECASE,
)
_LENGTH = re.compile(r"(\d[\d,]*)[ -]words?\b", re.IGNORECASE)
_ENDLESS = re.compile(r"\b(?:endless(?:ly)?|never[ -]ending|without end|for ever|forever)\b", re.IGNORECASE)

_TOPICS = (
    "a lamp that was never switched off",
    "the last ferry of the year",
    "a letter with no stamp",
    "the sound under the old bridge",
    "a map of somewhere that did not exist",
    "the winter the clocks stopped",
    "a garden behind a locked gate",
    "the bell that rang by itself",
)

_HEROES = (
    ("Mara", "she", "her", "her"),
    ("Tomas", "he", "him", "his"),
    ("Ines", "she", "her", "her"),
    ("Old Piet", "he", "him", "his"),
    ("Leonie", "she", "her", "her"),
    ("Anselm", "he", "him", "his"),
    ("Ruth", "she", "her", "her"),
    ("Davit", "he", "him", "his"),
)

_PLACES = ("the harbour", "the upper village", "the mill town", "the island", "the valley", "the old quarter")
_FRIENDS = ("the postmistress", "the ferryman", "the baker's boy", "the schoolteacher", "the watchmaker", "the nurse")
_THINGS = ("brass key", "torn photograph", "small blue notebook", "compass", "box of matches", "tin whistle")

_SLOTS: dict[str, Sequence[str]] = {
    "weather": ("a thin grey rain", "a fog that would not lift", "a bright hard frost", "a warm wind", "an early snow"),
    "season": ("late autumn", "the wet spring", "the longest summer", "a mild winter", "the week before harvest"),
    "room": (
        "the reading room",
        "a kitchen that smelt of bread",
        "the signal box",
        "the back of the chapel",
        "the attic",
    ),
    "sound": (
        "a door closing softly",
        "a step on gravel",
        "somebody humming",
        "water moving in the dark",
        "a far bell",
    ),
    "feeling": ("relief", "a small, stubborn hope", "something close to laughter", "unease", "great patience", "doubt"),
}

_OPENINGS = (
    (
        "{hero} came to {place} in {season}, with one suitcase and a question about {topic}.",
        "Nobody in {place} remembered who had first spoken of {topic}, but {hero} meant to find out.",
        "On the morning {hero} first heard about {topic}, {place} lay under {weather}.",
        "There was a time when everyone in {place} had an opinion about {topic}, and {hero} was born just after it.",
        "It began, as such things often do in {place}, with {topic}.",
    ),
    (
        "{She} carried {thing} in {her} coat, and it had grown heavier every day.",
        "{She} was not a person who believed things merely because they were repeated.",
        "People said that {she} asked too much and slept too little, and both were true.",
        "{She} had promised {friend} to be careful, and had meant it at the time.",
    ),
    (
        "All the same, {she} went out to look.",
        "What {she} wanted was simple, and that was what made it so hard to explain.",
        "It did not seem, that first day, like the beginning of anything.",
        "By noon {she} had learnt three things, and two of them were wrong.",
    ),
)

_TURNS = (
    "The next morning, {friend} was waiting with {the_thing} and no explanation.",
    "By evening there was {weather} over {place}, and the streets had emptied early.",
    "A week went by before anyone mentioned it again.",
    "Then, late one night, {hero} heard {sound}.",
    "In {room} {she} found {friend}, who had been expecting {her_object} for some time.",
    "After that, {hero} began to write everything down.",
    "The answer, when it came, arrived from an unlikely direction.",
    "Two days later the road was open again, and {hero} took it.",
    "It was {friend} who finally broke the silence.",
    "Nothing happened for so long that {hero} almost stopped listening.",
    "On the far side of {place} there was a house with all its windows lit.",
    "Some weeks are longer than others, and this was one of the long ones.",
)

_MIDDLES = (
    "{She} turned {the_thing} over in {her} hands and thought about {topic}.",
    "Somewhere behind {her_object} there was {sound}, and then nothing.",
    '"You will not find it by hurrying," said {friend}, and went back to work.',
    '"Everybody asks about {topic}," {friend} told {her_object}, "and nobody stays for the answer."',
    "{She} felt {feeling}, which surprised {her_object} more than anything else that day.",
    "The lamps were lit one by one, and each of them made the dark beyond it a little deeper.",
    "It was not the sort of thing that could be settled by argument.",
    "{She} counted the steps on the way back and came to a different number.",
    "There were marks on the wall, old and patient, left by someone who had measured the same thing every year.",
    "For a moment it looked as if the whole of {place} were holding its breath.",
    "{She} wrote down what {she} had seen, crossed out the half that {she} had only guessed, and kept the rest.",
    "What nobody had told {her_object} was how quiet it would be.",
    "In {place}, people are polite about mysteries and strict about boots, and {she} had muddy boots.",
    "The tea went cold while they talked, and neither of them noticed.",
    "{She} knew then that {friend} had known all along.",
    "Outside there was {weather}, and it suited {her} mood exactly.",
    "{She} had imagined {topic} larger, or louder, or further away.",
    "It took {her_object} an hour to ask the question and a minute to understand the reply.",
    "The gulls argued over something on the wall and then forgot what it was.",
    "Whatever else had changed, the stairs still creaked in the same two places.",
    "{She} laughed, because the alternative was to turn round and go home.",
    '"It was here before us," said {friend}, "and it has better manners."',
    "A child ran past with {the_thing}, and for a while {she} thought of nothing else.",
    "The more closely {she} looked at {topic}, the less it resembled what people had described.",
    "Somebody had left a light on in {room}, as one does for a guest.",
    "{She} slept badly, woke early, and found that {she} was no longer afraid.",
    "There was a pattern in it, but one had to stand very still to see it.",
    "The first explanation was elegant, the second was likely, and the third turned out to be true.",
    "Nobody thanked {her_object}, which in {place} is a kind of compliment.",
    "{She} put {the_thing} on the table between them, and {friend} looked at it for a long time.",
    "It was a small kindness, and it altered everything that came after.",
    "Rain makes the same sound on every roof, yet {she} could have sworn that this was a different rain.",
)

_CLOSINGS = (
    (
        "In the end it was not {topic} that had changed, but the way {hero} spoke of it.",
        "When {hero} left {place}, {she} took {the_thing} and left the question behind.",
        "Years later {hero} would tell the story of {topic} differently each time, and always truthfully.",
        "So that was the truth about {topic}, and it was smaller and kinder than anyone had supposed.",
    ),
    (
        "{Friend} waved once from the wall and went in.",
        "There was {weather} over the water, and then there was only the water.",
        "Somewhere behind {her_object}, very faintly, there was {sound}.",
        "{She} felt {feeling}, and did not try to give it another name.",
    ),
    (
        "The light stayed on.",
        "It was enough.",
        "And in {place} they still leave a chair free, in case somebody else should come and ask.",
        "{She} did not look back, but {she} did walk slowly.",
    ),
)

_REASONING = (
    ("The user asks about {topic}.", "So this is about {topic}.", "Let me think about {topic}."),
    (
        "First I should be clear what is really wanted here, because the obvious reading may not be the useful one.",
        "There are two ways to take this, and the plainer one is probably meant.",
        "I want to separate what is known from what is merely repeated.",
    ),
    (
        "The main point has to come first, and then the reason for it.",
        "An example would help more than a definition.",
        "It is worth checking the edge cases before saying anything general.",
    ),
    (
        "That holds up, so a short answer will do.",
        "I am fairly sure of this, and I should say where I am not.",
        "Good: I can say this in a few sentences.",
    ),
)

_ANSWER = (
    (
        "The short answer about {topic} is that it depends on what you compare it with.",
        "There is less mystery in {topic} than people think, and more detail.",
        "Most of what matters about {topic} can be said in a few sentences.",
    ),
    (
        "Start from what you can observe, change one thing at a time, and write down what happens.",
        "The part that is easy to see is rarely the part that does the work.",
        "What looks like one question is really two, and only the first of them is urgent.",
    ),
    (
        "If the two disagree, trust the measurement and look again at the explanation.",
        "It helps to try the smallest case that could possibly go wrong.",
        "Where the details matter, they matter a great deal, so it is worth looking them up.",
    ),
    (
        "Beyond that I would be guessing about {topic}, and I would rather not.",
        "That is all there is to it, and it is usually enough.",
        "Ask me again with an example, and I can be more precise.",
    ),
)


def topic_of(prompt: str) -> str | None:
    """What ``prompt`` is about, as words that can stand for a noun; ``None`` where it does not say.

    >>> topic_of("Write a short story about a lighthouse keeper, in 300 words")
    'a lighthouse keeper'
    >>> topic_of("Count from 1 to 10")
    'the words “Count from 1 to 10”'
    >>> topic_of("Write a short story") is None
    True
    """
    line = " ".join(prompt.split())
    candidates = [match[1] for match in _ABOUT.finditer(line)] + _DETERMINED.findall(line)
    for candidate in candidates:
        words = _TAIL.sub("", candidate).split()[:8]
        phrase = " ".join(words).strip(" ,\"'“”()")
        if phrase and not _only_kind(phrase):
            return phrase
    if not line or _only_kind(line):
        return None
    words = line.split(" ")
    quoted = " ".join(words[:6]).strip(' .?!,;:"“”') + (" …" if len(words) > 6 else "")
    return f"the words “{quoted}”"


def _only_kind(text: str) -> bool:
    """Whether ``text`` says nothing but what kind of text is wanted."""
    words = re.findall(r"[^\W\d_][\w'’]*", text.lower())
    return all(word in _KIND for word in words)


def story(prompt: str, seed: str) -> Iterator[str]:
    """A story for ``prompt``, sentence by sentence: some 200 words, as many as it asks for, or without end.

    >>> "".join(story("A story about the sea", "1")) == "".join(story("A story about the sea", "1"))
    True
    """
    random = Random(f"{seed}\n{prompt}".encode("utf-8", "surrogatepass"))  # noqa: S311  prose, no secret
    slots = _cast(random, topic_of(prompt))
    wanted = _words_wanted(prompt)
    brief = wanted is not None and wanted < USUAL_WORDS // 2
    opening = [_filled(random.choice(row), slots) for row in (_OPENINGS[:1] if brief else _OPENINGS)]
    closing = [_filled(random.choice(row), slots) for row in (_CLOSINGS[-1:] if brief else _CLOSINGS)]
    words = len(" ".join(opening + closing).split())
    yield from _paragraph(opening)
    turns, middles = _drawn(random, _TURNS), _drawn(random, _MIDDLES)
    while wanted is None or words < wanted:
        templates = [next(turns), *(next(middles) for _ in range(random.randint(2, 4)))]
        sentences: list[str] = []
        for template in templates:
            sentences.append(_filled(template, slots))
            words += len(sentences[-1].split())
            if wanted is not None and words >= wanted:
                break
            slots |= _fresh(random)
        yield from _paragraph(sentences)
    yield from _paragraph(closing, last=True)


def reasoning(prompt: str, seed: str) -> Iterator[str]:
    """A few sentences of thought about ``prompt``."""
    return _rows(_REASONING, prompt, f"{seed}\nreasoning")


def answer(prompt: str, seed: str) -> Iterator[str]:
    """A few sentences in answer to ``prompt``."""
    return _rows(_ANSWER, prompt, f"{seed}\nanswer")


def report(results: Sequence[tuple[str, str]]) -> Iterator[str]:
    """What the tools gave, in a sentence each: ``results`` are the functions' names and their results.

    >>> "".join(report([("get_weather", '{"city": "Paris", "celsius": 21}')]))
    'According to get_weather, city is Paris and celsius is 21.'
    """
    sentences = [f"According to {name or 'the tool'}, {_said(content)}." for name, content in results]
    return _paragraph(sentences, last=True)


def _said(content: str) -> str:
    try:
        result: Any = json.loads(content)
    except ValueError:
        return content.strip().rstrip(".") or "there is nothing"
    if isinstance(result, dict) and result:
        said = [
            f"{str(name).replace('_', ' ')} is {_plain(part)}" for name, part in cast("dict[str, Any]", result).items()
        ]
        return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)
    return f"the result is {_plain(result)}"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _rows(rows: Sequence[Sequence[str]], prompt: str, seed: str) -> Iterator[str]:
    random = Random(f"{seed}\n{prompt}".encode("utf-8", "surrogatepass"))  # noqa: S311  prose, no secret
    slots = _cast(random, topic_of(prompt))
    return _paragraph([_filled(random.choice(row), slots) for row in rows], last=True)


def _words_wanted(prompt: str) -> int | None:
    match = _LENGTH.search(prompt)
    if match:
        return int(match[1].replace(",", ""))
    if _ENDLESS.search(prompt):
        return None
    return VERY_LONG_WORDS if re.search(r"\bvery long\b", prompt, re.IGNORECASE) else USUAL_WORDS


def _cast(random: Random, topic: str | None) -> dict[str, str]:
    """Who and what the text is about, the same from its first sentence to its last."""
    hero, she, her_object, her = random.choice(_HEROES)
    fixed = {"hero": hero, "she": she, "her_object": her_object, "her": her, "place": random.choice(_PLACES)}
    thing = random.choice(_THINGS)
    fixed |= {"friend": random.choice(_FRIENDS), "thing": f"a {thing}", "the_thing": f"the {thing}"}
    return _fresh(random) | fixed | {"topic": topic or random.choice(_TOPICS)}


def _fresh(random: Random) -> dict[str, str]:
    """What may change from one sentence to the next."""
    return {name: random.choice(options) for name, options in _SLOTS.items()}


def _filled(template: str, slots: dict[str, str]) -> str:
    capitals = {name.capitalize(): value[0].upper() + value[1:] for name, value in slots.items()}
    text = template.format(**slots, **capitals)
    return text[0].upper() + text[1:]


def _drawn(random: Random, templates: Sequence[str]) -> Iterator[str]:
    """The templates in a random order, for ever, none again before all the others have been."""
    while True:
        yield from random.sample(templates, len(templates))


def _paragraph(sentences: Sequence[str], *, last: bool = False) -> Iterator[str]:
    for position, sentence in enumerate(sentences, 1):
        end = "\n\n" if position == len(sentences) and not last else ""
        yield f"{' ' if position > 1 else ''}{sentence}{end}"

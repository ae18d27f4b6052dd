"""JSON that satisfies a schema and, where it can, says what the prompt said: a simulated model's tool calls.

``What's the weather in Paris?`` fills ``location`` with ``Paris``, ``Add 3 and 4`` fills two numbers in their order.
What no such value can be made for is refused rather than answered wrongly.
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import Any, cast

__all__ = ["UnsatisfiableError", "arguments_of_calls", "value_for", "words_of"]

Schema = dict[str, Any]
AnySchema = Schema | bool

UNSUPPORTED = (
    "not",
    "if",
    "contains",
    "patternProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
)

_ONLY_ONE = ("anyOf", "oneOf", "const", "pattern", "multipleOf", "items", "additionalProperties")

FORMATS = {
    "date": ("2026-03-14", r"\b\d{4}-\d\d-\d\d\b"),
    "date-time": ("2026-03-14T09:30:00Z", r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)"),
    "time": ("09:30:00Z", r"\b\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)"),
    "duration": ("PT30M", r"\bP(?:\d+[YMWD])+\b"),
    "email": ("ada@example.com", r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"),
    "hostname": ("example.com", r"\b[\w-]+(?:\.[\w-]+)+\b"),
    "uri": ("https://example.com/", r"\bhttps?://[^\s\"'<>]*[^\s\"'<>.,;:!?)]"),
    "url": ("https://example.com/", r"\bhttps?://[^\s\"'<>]*[^\s\"'<>.,;:!?)]"),
    "uuid": ("8c5a1f0e-3b72-4d16-9a4e-6f2d0c7b9e51", r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"),
    "ipv4": ("192.0.2.1", r"\b\d{1,3}(?:\.\d{1,3}){3}\b"),
    "ipv6": ("2001:db8::1", r"\b(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}\b"),
}

# What a pattern often asks for: codes, numbers, identifiers.
COMMON_STRINGS = (
    *("1", "12", "123", "1234", "12345", "123456", "1234567890", "a", "ab", "abc", "A", "AB", "ABC", "A1", "AB-123"),
    *("#a1b2c3", "1.0", "1.0.0", "09:30", "2026-03-14", "+441632960961", "/", "/path", "0x1f", "a_b", "a-b", "", " "),
)

# A word with a capital that is no name when it opens a sentence.
OPENERS = frozenset(
    "a add after all also an and any are as ask at be before book build buy calculate call can cancel check "
    "choose compare compute convert could count create define delete describe did do does draw email explain "
    "fetch find for from get give go had has have hello help hey hi how i i'd i'll i'm i've if in is it its just "
    "let let's list look make may maybe me move multiply my need no not now of on open or order our plan please "
    "print put read remind rename reserve run say schedule search send set shall should show so solve start stop "
    "sum summarise summarize take tell thanks that the then there these they this those to translate try turn "
    "update use was we were what what's when where where's which who who's why will with would write yes you "
    "your".split()
)

WHOLE_PROMPT = ("query", "question", "prompt", "text", "input", "message", "expression", "code", "content", "search")

_Words = re.compile(r"[^\W_][\w'’-]*")
_Numbers = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\w-])")
_Quoted = re.compile(r"[\"“]([^\"“”]+)[\"”]|(?<!\w)['‘]([^'‘’]+)['’](?!\w)|`([^`]+)`")


class UnsatisfiableError(ValueError):
    """No value for this schema can be made."""


def words_of(text: str) -> set[str]:
    """The words of ``text`` in lower case, names in snake_case and camelCase taken apart and a plural's s left out.

    >>> sorted(words_of("getWeather search_flights"))
    ['flight', 'get', 'search', 'weather']
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text).replace("_", " ").replace("-", " ")
    words = (word.lower().removesuffix("'s").removesuffix("’s") for word in _Words.findall(apart))
    return {word.removesuffix("s") if len(word) > 3 else word for word in words}


def value_for(schema: AnySchema, prompt: str) -> Any:
    """A value that satisfies ``schema``, with what ``prompt`` says where it fits.

    Raises:
        UnsatisfiableError: there is no such value, or the schema uses what is not supported here.

    >>> value_for({"properties": {"steps": {"type": "integer"}, "to": {"enum": ["up", "down"]}}}, "Go 3 down")
    {'steps': 3, 'to': 'down'}
    """
    return _Maker(schema, _Clues(prompt)).value(schema, "", (), ())


def arguments_of_calls(parameters: Schema | None, prompt: str, *, parallel: bool) -> list[Any]:
    """The arguments of each call that ``prompt`` asks for: several for several named things, if ``parallel``, else one.

    Raises:
        UnsatisfiableError: no arguments can be made for these parameters.

    >>> schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    >>> arguments_of_calls(schema, "What's the weather in Paris and Rome?", parallel=True)
    [{'city': 'Paris'}, {'city': 'Rome'}]
    """
    schema = parameters or {"type": "object", "properties": {}}
    clues = _Clues(prompt)
    maker = _Maker(schema, clues)
    if parallel and len(clues.several) > 1 and maker.takes_one_thing(schema):
        each = [_Clues(prompt, thing) for thing in clues.several]
        return [_Maker(schema, clues).value(schema, "", (), ()) for clues in each]
    return [maker.value(schema, "", (), ())]


class _Clues:
    """What a prompt offers for arguments: quoted texts and names, numbers, and the prompt itself."""

    def __init__(self, prompt: str, thing: str | None = None) -> None:
        self.prompt = prompt.strip()
        self.words = words_of(prompt)
        self.chosen = thing is not None
        quoted = [next(filter(None, match.groups())) for match in _Quoted.finditer(prompt)]
        names = [] if quoted else _names(prompt)
        self.things = [thing] if thing is not None else quoted or names
        self.several = _enumerated(prompt, self.things)
        self.numbers = [Fraction(match[0].replace(",", "")) for match in _Numbers.finditer(prompt)]
        self._next_thing = 0

    @property
    def all_told(self) -> bool:
        """Whether each name and quoted text has been used."""
        return self._next_thing >= len(self.things)

    def next_thing(self) -> str | None:
        """The next name or quoted text, from the first again after the last."""
        if not self.things:
            return None
        self._next_thing += 1
        return self.things[(self._next_thing - 1) % len(self.things)]

    def strings(self, key: str) -> Iterator[str]:
        """What a string called ``key`` may say, the most likely first."""
        whole = any(word in WHOLE_PROMPT for word in words_of(key))
        if whole and not self.chosen and not _Quoted.search(self.prompt):
            yield self.prompt
        thing = self.next_thing()
        if thing is not None:
            yield thing
            yield from self.things
        longest = sorted(_Words.findall(self.prompt), key=len, reverse=True)
        yield from (word for word in longest if word.lower() not in OPENERS)
        if self.prompt:
            yield self.prompt
        if key:
            yield key.replace("_", " ")
        yield "something"


def _names(prompt: str) -> list[str]:
    """The runs of words with a capital, without the words that merely open a sentence."""
    names: list[str] = []
    end, running = 0, False
    for match in _Words.finditer(prompt):
        word = re.sub(r"['’]s$", "", match[0])
        between = prompt[end : match.start()]
        opens = end == 0 or re.search(r"[.!?:\n]", between) is not None
        is_name = word[0].isupper() and not (word.lower() in OPENERS and (opens or word == "I"))
        if is_name and running and (between == " " or (between == ", " and re.fullmatch("[A-Z]{2}", word))):
            names[-1] += between + word  # New York, and Austin, TX
        elif is_name:
            names.append(word)
        end, running = match.start() + len(word), is_name
    if len(names) > 1 and re.match(rf"\s*{re.escape(names[0])} (?:about|at|between|for|from|in|of|on|to)\b", prompt):
        del names[0]  # Weather in Paris
    return names


def _enumerated(prompt: str, things: Sequence[str]) -> list[str]:
    """The things that ``prompt`` lists, each once: with ``and`` or ``or``, or three of them with commas."""
    lists: list[list[str]] = []
    separators: list[str] = []
    for first, second in pairwise(things):
        between = r"[\"”'’`]?(\s*,)?\s*(,|&|\band\b|\bor\b)\s*(?:in |of |for |at )?[\"“'‘`]?"
        match = re.search(re.escape(first) + between + re.escape(second), prompt)
        if match and lists and lists[-1][-1] == first:
            lists[-1].append(second)
            separators[-1] += match[2]
        elif match:
            lists.append([first, second])
            separators.append(match[2])
    listed = (a for a, words in zip(lists, separators, strict=True) if len(a) > 2 or words != ",")
    return list(dict.fromkeys(thing for things in listed for thing in things))


class _Maker:
    """Makes values for the parts of one schema. Every part is named by the property it is for."""

    def __init__(self, root: AnySchema, clues: _Clues) -> None:
        self.root = root
        self.clues = clues

    def takes_one_thing(self, schema: Schema) -> bool:
        """Whether one string, and one only, is to be filled with a thing that the prompt names."""
        properties: Schema = schema.get("properties") or {}
        wanted = schema.get("required") or list(properties)
        free = [
            name
            for name in wanted
            if isinstance(part := properties.get(name), dict)
            and "string" in _types(self.resolved(cast("Schema", part), ())[0])
            and not {"enum", "const", "format"} & part.keys()
        ]
        return len(free) == 1

    def value(self, schema: AnySchema, key: str, refs: tuple[str, ...], avoid: Sequence[Any]) -> Any:
        """A value for ``schema`` that is none of ``avoid``; ``refs`` are the references followed on the way here."""
        if schema is False:
            raise UnsatisfiableError(f"nothing is allowed for '{key}'")
        schema, refs = self.resolved({} if schema is True else schema, refs)
        unsupported = next((keyword for keyword in UNSUPPORTED if keyword in schema), None)
        if unsupported:
            raise UnsatisfiableError(f"the simulator does not support '{unsupported}'")
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._one_of(schema, keyword, key, refs, avoid)
        if "const" in schema:
            return self._choice([schema["const"]], key, avoid)
        if "enum" in schema:
            return self._choice(schema["enum"], key, avoid)
        return self._typed(schema, key, refs, avoid)

    def resolved(self, schema: Schema, refs: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """``schema`` with its reference followed and its ``allOf`` merged."""
        while "$ref" in schema:
            reference = str(schema["$ref"])
            if reference in refs:
                raise UnsatisfiableError(f"'{reference}' requires itself without end")
            refs = (*refs, reference)
            rest = {name: part for name, part in schema.items() if name != "$ref"}
            schema = _merged(rest, self._target(reference))
        parts: list[Schema] = schema.get("allOf") or []
        schema = {name: part for name, part in schema.items() if name != "allOf"}
        for part in parts:
            resolved, refs = self.resolved(part, refs)
            schema = _merged(schema, resolved)
        return schema, refs

    def _target(self, reference: str) -> Schema:
        target: Any = self.root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            target = cast("Schema", target).get(name) if isinstance(target, dict) else None
        if not reference.startswith("#") or not isinstance(target, dict):
            raise UnsatisfiableError(f"'{reference}' is not in the schema")
        return cast("Schema", target)

    def _one_of(self, schema: Schema, keyword: str, key: str, refs: tuple[str, ...], avoid: Sequence[Any]) -> Any:
        rest = {name: part for name, part in schema.items() if name != keyword}
        options: list[Schema] = [{} if option is True else option for option in schema[keyword] if option is not False]
        options.sort(key=lambda option: option.get("type") == "null")
        reason = "nothing is allowed"
        for option in options:
            try:
                resolved, followed = self.resolved(option, refs)
                return self.value(_merged(rest, resolved), key, followed, avoid)
            except UnsatisfiableError as error:
                reason = str(error)
        raise UnsatisfiableError(reason)

    def _choice(self, options: list[Any], key: str, avoid: Sequence[Any]) -> Any:
        """The option whose words the prompt has most of, else the first; ``None`` only where nothing else is left."""
        left = [option for option in options if not any(_same(option, other) for other in avoid)]
        if not left:
            raise UnsatisfiableError(f"there are not enough values for '{key}'")
        return max(left, key=lambda option: (len(words_of(str(option)) & self.clues.words), option is not None))

    def _typed(self, schema: Schema, key: str, refs: tuple[str, ...], avoid: Sequence[Any]) -> Any:
        types = _types(schema)
        kind = next((kind for kind in types if kind != "null"), "null")
        match kind:
            case "object":
                return self._object(schema, refs, avoid)
            case "array":
                return self._array(schema, key, refs, avoid)
            case "integer" | "number":
                return self._number(schema, key, avoid, whole=kind == "integer")
            case "boolean":
                return self._choice([True, False], key, avoid)
            case "null":
                return self._choice([None], key, avoid)
            case "string":
                return self._string(schema, key, avoid)
            case _:
                raise UnsatisfiableError(f"'{kind}' is no type")

    def _object(self, schema: Schema, refs: tuple[str, ...], avoid: Sequence[Any]) -> Schema:
        properties: Schema = schema.get("properties") or {}
        required: list[str] = list(dict.fromkeys(schema.get("required") or ()))
        extra: AnySchema = schema.get("additionalProperties", True)
        most: int = schema.get("maxProperties", len(properties) + len(required))
        optional = [name for name in properties if name not in required][: max(most - len(required), 0)]
        made: Schema = {}
        for name in [name for name in properties if name in required or name in optional]:
            if name in optional and made and self._says_nothing(properties[name]):
                continue
            try:
                made[name] = self.value(properties[name], name, refs, ())
            except UnsatisfiableError:
                if name in required:
                    raise
        for name in required:
            if name not in made:
                made[name] = self.value(extra, name, refs, ())
        while len(made) < schema.get("minProperties", 0):
            name = next(name for number in range(1, len(made) + 2) if (name := f"key_{number}") not in made)
            if name in properties:
                raise UnsatisfiableError(f"'{name}' cannot be filled")
            made[name] = self.value(extra, name, refs, ())
        if len(made) > schema.get("maxProperties", len(made)) or any(_same(made, other) for other in avoid):
            raise UnsatisfiableError("no such object can be made")
        return made

    def _says_nothing(self, schema: AnySchema) -> bool:
        """Whether it is a free text for which the prompt has nothing left."""
        if isinstance(schema, bool) or not self.clues.all_told:
            return False
        return schema.get("type") == "string" and not {"enum", "const", "format", "default"} & schema.keys()

    def _array(self, schema: Schema, key: str, refs: tuple[str, ...], avoid: Sequence[Any]) -> list[Any]:
        first: list[AnySchema] = schema.get("prefixItems") or []
        rest: AnySchema = schema.get("items", True)
        least: int = schema.get("minItems", 0)
        named = len(self.clues.several) if isinstance(rest, dict) and "string" in _types(rest) else 0
        # One more than the array to avoid has: lengths tell arrays apart.
        lengths = [len(cast("Sequence[Any]", other)) for other in avoid if isinstance(other, list)]
        count = max([least, len(first), named, 1, *(length + 1 for length in lengths)])
        made: list[Any] = []
        for position in range(min(count, schema.get("maxItems", count))):
            part = first[position] if position < len(first) else rest
            try:
                made.append(self.value(part, key, refs, made if schema.get("uniqueItems") else ()))
            except UnsatisfiableError:
                if len(made) < least:
                    raise
                break
        if len(made) < least or any(_same(made, other) for other in avoid):
            raise UnsatisfiableError(f"no such array can be made for '{key}'")
        return made

    def _number(self, schema: Schema, key: str, avoid: Sequence[Any], *, whole: bool) -> int | float:
        limits = _Limits(schema, whole=whole)
        for index, number in enumerate(self.clues.numbers):
            if limits.allow(number) and not any(_same(limits.json(number), other) for other in avoid):
                del self.clues.numbers[index]
                return limits.json(number)
        default = schema.get("default")
        if isinstance(default, int | float) and not isinstance(default, bool) and default not in avoid:
            number = _fraction(default)
            if limits.allow(number):
                return limits.json(number)
        for number in limits.numbers():
            if not any(_same(limits.json(number), other) for other in avoid):
                return limits.json(number)
        raise UnsatisfiableError(f"there is no number for '{key}'")

    def _string(self, schema: Schema, key: str, avoid: Sequence[Any]) -> str:
        least: int = schema.get("minLength", 0)
        most: int | None = schema.get("maxLength")
        pattern: str | None = schema.get("pattern")
        for text in self._strings(schema, key, avoid, least, most):
            fits = least <= len(text) and (most is None or len(text) <= most) and text not in avoid
            if fits and (pattern is None or re.search(pattern, text)):
                return text
        raise UnsatisfiableError(f"the simulator finds no string for '{key}'")

    def _strings(self, schema: Schema, key: str, avoid: Sequence[Any], least: int, most: int | None) -> Iterator[str]:
        if schema.get("format") in FORMATS:
            usual, shape = FORMATS[schema["format"]]
            yield from (match[0] for match in re.finditer(shape, self.clues.prompt))
            yield usual
            return
        default = schema.get("default")
        likely = list(self.clues.strings(key))
        if isinstance(default, str):
            # What the prompt names outright comes before the default, anything vaguer after it.
            likely.insert(1 if self.clues.things else 0, default)
        for text in likely:
            yield _cut(text, least, most)
        for number in range(2, len(avoid) + 3):
            yield _cut(f"{number} {likely[0]}", least, most)
        if "pattern" in schema:
            yield from COMMON_STRINGS


class _Limits:
    """What numbers a schema allows, worked out in fractions, so that ``multipleOf: 0.1`` means what it says."""

    def __init__(self, schema: Schema, *, whole: bool) -> None:
        self.whole = whole
        self.low, self.low_open = self._bound(schema, "minimum", "exclusiveMinimum", max)
        self.high, self.high_open = self._bound(schema, "maximum", "exclusiveMaximum", min)
        step = _fraction(schema["multipleOf"]) if "multipleOf" in schema else None
        if whole:
            step = Fraction((step or Fraction(1)).numerator)
        self.step = step

    @staticmethod
    def _bound(schema: Schema, closed: str, opened: str, tighter: Any) -> tuple[Fraction | None, bool]:
        bounds = [(_fraction(schema[name]), name == opened) for name in (closed, opened) if name in schema]
        if not bounds:
            return None, False
        value = tighter(bound for bound, _ in bounds)
        return value, any(bound == value and is_open for bound, is_open in bounds)

    def allow(self, number: Fraction) -> bool:
        """Whether ``number`` keeps within the limits."""
        low = self.low is None or number > self.low or (number == self.low and not self.low_open)
        high = self.high is None or number < self.high or (number == self.high and not self.high_open)
        return low and high and (self.step is None or number % self.step == 0)

    def numbers(self) -> Iterator[Fraction]:
        """Numbers within the limits, from 1 or what is nearest to it."""
        step = self.step or self._step_without()
        start = Fraction(1)
        if self.low is not None and self.low > start:
            start = self.low
        elif self.high is not None and self.high < start:
            start = self.high
        nearest = [Fraction(floor(start / step)) * step, Fraction(ceil(start / step)) * step]
        if self.step is None:
            nearest.insert(0, start)
        for distance in range(256):
            for number in (nearest[-1] + distance * step, nearest[0] - distance * step, nearest[0] + distance * step):
                if self.allow(number):
                    yield number

    def _step_without(self) -> Fraction:
        if self.low is not None and self.high is not None and self.high > self.low:
            return min(Fraction(1), (self.high - self.low) / 256)
        return Fraction(1)

    def json(self, number: Fraction) -> int | float:
        """``number`` as JSON writes it."""
        return int(number) if number.denominator == 1 else float(number)


def _fraction(number: float) -> Fraction:
    return Fraction(str(number))


def _types(schema: Schema) -> list[str]:
    """The types that ``schema`` allows; where it names none, what its other keywords speak of."""
    types = schema.get("type")
    if isinstance(types, str):
        return [types]
    if isinstance(types, list):
        return cast("list[str]", types)
    if {"properties", "required", "additionalProperties", "minProperties"} & schema.keys():
        return ["object"]
    if {"items", "prefixItems", "minItems"} & schema.keys():
        return ["array"]
    if {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"} & schema.keys():
        return ["number"]
    return ["string"]


def _merged(first: Schema, second: Schema) -> Schema:
    """What satisfies both schemas, for the keywords that commonly stand in two places."""
    merged = first | second
    for name in first.keys() & second.keys():
        one, other = first[name], second[name]
        if name == "properties":
            merged[name] = one | other | {key: _both(one[key], other[key]) for key in one.keys() & other.keys()}
        elif name == "required":
            merged[name] = [*one, *other]
        elif name == "enum":
            merged[name] = [option for option in one if option in other]
        elif name == "type":
            merged[name] = _common_types(_types({"type": one}), _types({"type": other}))
        elif name in ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"):
            merged[name] = max(one, other)
        elif name in ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"):
            merged[name] = min(one, other)
        elif name in _ONLY_ONE and one != other:
            raise UnsatisfiableError(f"the simulator cannot satisfy two of '{name}' at once")
    return merged


def _both(one: AnySchema, other: AnySchema) -> AnySchema:
    if isinstance(one, bool) or isinstance(other, bool):
        return False if one is False or other is False else other if one is True else one
    return _merged(one, other)


def _common_types(one: list[str], other: list[str]) -> list[str]:
    common = [kind for kind in one if kind in other]
    if not common and {"integer", "number"} <= {*one, *other}:
        common = ["integer"]
    if not common:
        raise UnsatisfiableError(f"nothing is both {' or '.join(one)} and {' or '.join(other)}")
    return common


def _same(one: Any, other: Any) -> bool:
    """Whether JSON takes the two for the same value: ``True`` is not ``1``."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _cut(text: str, least: int, most: int | None) -> str:
    """``text``, repeated up to ``least`` characters and cut after ``most``."""
    if text and len(text) < least:
        text = (f"{text} " * ceil(least / (len(text) + 1)))[:least]
        text = text if not text.endswith(" ") else f"{text[:-1]}."
    return text if most is None else text[:most]

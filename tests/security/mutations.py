"""Changes to bytes, texts and trees, drawn from a `random.Random`."""

import copy
import json
import math

NUMBERS = (
    0,
    1,
    -1,
    127,
    128,
    255,
    256,
    2**15,
    2**16 - 1,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)
ESCAPE = "\x1b]0;title\x07\x1b[2J"
EDGES = [2**31, 2**53 + 1, 2**63, 10**30, 10**400, -1, 0, 1e308, 1e-320, -0.0, math.nan, math.inf, 0.5, 1e12]
EDGES += [
    "",
    "\0",
    "../a.png",
    "/etc/passwd",
    "C:\\a.png",
    "a.png/",
    ".",
    "x" * 5000,
    "\ud800",
    "a\nb",
    ESCAPE,
]
EDGES += ["[/red]", "$\\frac$", "=1+1", "\u202e", "é", "%s{0}", None, True, [], {}, [[]], [[1, 1]], {"a": 1}]


def words(text):
    """Return the words of a text."""
    return text.split()


def change_bytes(rng, data):
    """Return data after one to four changes: bits, runs, numbers, its end."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        width = rng.choice((1, 2, 4, 8))
        kind = rng.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            value = rng.choice(NUMBERS) % 2 ** (8 * width)
            data[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))
        elif kind == 2:
            del data[at : at + rng.choice((1, 2, 3, 10, 100))]
        elif kind == 3:
            data[at:at] = data[at : at + rng.randint(1, 200)] * rng.randint(1, 3)
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.randint(1, 8))
        elif kind == 5:
            data[at : at + 8] = rng.randbytes(len(data[at : at + 8]))
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)


def change_text(rng, text, known):
    """Return a text, as bytes, after some changes of words or of bytes."""
    if rng.random() < 0.4:
        return change_bytes(rng, text.encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text) + 1)
        end = at + rng.choice((0, 0, 1, 5, 30))
        text = text[:at] + rng.choice(known) * rng.choice((1, 1, 1, 2, 50)) + text[end:]
    return text.encode(errors="surrogatepass")


def places(tree, path=()):
    """Yield the path of every value."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        yield (*path, key)
        yield from places(value, (*path, key))


def change_tree(rng, tree, edges=EDGES):
    """Return a copy of nested dicts and lists after one to four changes."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.randint(1, 4)):
        found = list(places(tree))
        if not found:
            return tree
        *path, last = rng.choice(found)
        where = tree
        for key in path:
            where = where[key]
        kind = rng.randrange(6)
        if kind == 0:
            del where[last]
        elif kind == 1:
            where[last] = [where[last]]
        elif kind == 2 and isinstance(where, list):
            where += copy.deepcopy(where)[: rng.choice((1, 3, 2000))]
        elif kind == 3 and isinstance(where, dict):
            where[rng.choice(("", "x", ESCAPE, "__class__", "id", "a.b", "0"))] = where.pop(last)
        elif kind == 4 and isinstance(where[last], int | float) and abs(where[last]) < 2**63:
            where[last] = rng.choice((-where[last], where[last] + 1, where[last] * 10**6, where[last] / 3))
        else:
            where[last] = copy.deepcopy(rng.choice(edges))
    return tree


def change_json(rng, tree):
    """Return JSON, as bytes, of a changed tree; or its changed text."""
    if rng.random() < 0.25:
        return change_text(
            rng, json.dumps(tree), ("[", "]", "{", "}", ",", '"', "1e999", "NaN", "\\ud800", "\0")
        )
    text = json.dumps(change_tree(rng, tree, [*EDGES, "deep"] if rng.random() < 0.9 else ["deep"]))
    depth = rng.choice((30, 300, rng.randint(700, 1000)))
    return text.replace('"deep"', "[" * depth + "]" * depth).encode()

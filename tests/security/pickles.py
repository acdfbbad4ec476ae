"""Programs for pickle's machine, drawn from a `random.Random`: sound opcodes in any order."""

import struct

NAMES = [
    "numpy.ndarray", "numpy.dtype", "collections.OrderedDict", "_codecs.encode", "builtins.set",
    "builtins.bytes", "builtins.bytearray", "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar", "numpy._core.numeric._frombuffer", "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter", "torch.FloatStorage", "torch.BoolStorage", "torch.Size", "os.system",
]  # fmt: skip
NUMBERS = [0, 1, 2, 3, 4, -1, 255, 2**31 - 1, 2**31, 2**62, 10**12]
TEXTS = ["f4", "O", "V8", "i8", "<", "|", "latin1", "storage", "0", "cpu", "C", "F", "x" * 300, "\x1b[2J"]


def integer(value):
    """Return an opcode that pushes an integer."""
    return b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)


def text(value):
    """Return an opcode that pushes a text."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def data(rng):
    """Return an opcode that pushes bytes, whose length may be a lie."""
    content = rng.randbytes(rng.choice((0, 1, 4, 8, 64)))
    said = len(content) if rng.random() < 0.9 else rng.choice((2**20, 2**31 - 1))
    return b"B" + struct.pack("<I", said) + content


def name(rng):
    """Return opcodes that push a class or function."""
    module, _, last = rng.choice(NAMES).rpartition(".")
    return f"c{module}\n{last}\n".encode() if rng.random() < 0.7 else text(module) + text(last) + b"\x93"


def numbers(rng):
    """Return opcodes that push a tuple of integers."""
    return b"(" + b"".join(integer(rng.choice(NUMBERS)) for _ in range(rng.randint(0, 4))) + b"t"


def call(rng):
    """Return opcodes that call something with arguments of about the right kinds."""
    kinds = (numbers, name, value, data)
    arguments = b"".join(rng.choice(kinds)(rng) for _ in range(rng.randint(0, 5)))
    return name(rng) + b"(" + arguments + b"tR" + (b"(" + arguments + b"tb" if rng.random() < 0.3 else b"")


def array(rng):
    """Return opcodes that make an array, of a shape and type that may not be its bytes'."""
    dtype = b"cnumpy\ndtype\n(" + text(rng.choice(TEXTS)) + b"\x89\x88tR"
    if rng.random() < 0.8:
        dtype += b"(" + integer(rng.choice((3, 4))) + text(rng.choice(("<", "|", ">", "="))) + b"NNN"
        dtype += b"".join(integer(rng.choice((-1, 0, 63, 1))) for _ in range(3)) + b"tb"
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + numbers(rng) + data(rng) + b"tR"
    return head + b"(" + integer(1) + numbers(rng) + dtype + b"\x89" + data(rng) + b"tb"


def tensor(rng):
    """Return opcodes that make a tensor, of a storage that may not be there."""
    kind = rng.choice(("Float", "Double", "Long", "Bool", "Byte", "ComplexFloat"))
    ident = text("storage") + f"ctorch\n{kind}Storage\n".encode() + text(rng.choice(("0", "1", "2", "../0")))
    storage = b"(" + ident + text("cpu") + integer(rng.choice((4, 16, *NUMBERS))) + b"tQ"
    view = integer(rng.choice((0, 0, 1, *NUMBERS))) + numbers(rng) + numbers(rng)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"\x89ccollections\nOrderedDict\n)RtR"


def value(rng):
    """Return opcodes that push something plain."""
    kind = rng.randrange(6)
    if kind == 0:
        return integer(rng.choice(NUMBERS))
    if kind == 1:
        return text(rng.choice(TEXTS))
    return rng.choice((b"N", b"\x88", b"]", b"}", b")", b"\x8f", b"G\x7f\xf0\0\0\0\0\0\0"))


def loose(rng):
    """Return any opcode with an argument, sense or not."""
    index = bytes((rng.randrange(8),))
    long = struct.pack("<I", rng.choice((5, 2**31)))
    frame = struct.pack("<Q", rng.choice((0, 4, 2**60)))
    single = [bytes((code,)) for code in b"012(tldaesuRboQ\x81\x85\x86\x87\x90\x91\x92\x93\x94\x97"]
    indexed = [b"h" + index, b"q" + index, b"r" + long, b"j" + long, b"g0\n", b"p0\n", b"\x95" + frame]
    return rng.choice(
        (*single, *indexed, b"I01\n", b"S'a'\n", b"L9L\n", b"\x82\x01", b"P0\n", b"i__main__\na\n")
    )


def doubling(rng):
    """Return opcodes of a container that holds itself many times over, or a text that is copied so."""
    times = rng.randint(2, 400)
    if rng.random() < 0.5:
        return b"]\x94" + b"h\0" + b"".join(b"(h\0h\0l\x94h\0a" for _ in range(min(times, 60)))
    return b"(" + b"c_codecs\nencode\n(X\x02\0\0\0xxtR" * times + b"t"


def program(rng):
    """Return a whole pickle."""
    kinds = (call, array, array, tensor, tensor, value, loose, loose, doubling)
    parts = [rng.choice(kinds)(rng) for _ in range(rng.randint(1, 8))]
    if rng.random() < 0.5:  # as a state dict
        parts = [b"(", *(text(f"w{n}") + part for n, part in enumerate(parts)), b"d"]
    return b"\x80" + bytes((rng.choice((2, 2, 4, 5)),)) + b"".join(parts) + b"."

"""The package's language: exact names, argument lines that say what a thing is, typed results, shapes.

What is still to be done stands in `PENDING`. A test fails where something joins it, and where something in
it is done: then take it out. In the end it is empty.
"""

import ast
import re
from collections import Counter

import pytest

from package_source import MODULES, SOURCES, TREES
from paths import TESTS

#: Verbs and participles: they say what was done, and not what a thing is.
NO_NAMES = re.compile(
    "Checked|Chosen|Collected|Compared|Computed|Described|Detected|Drawn|Evaluated|Examined|Explained|Exported|"
    "Fetched|Filled|Found|Given|Kept|Left|Listed|Loaded|Located|Made|Matched|Measured|Measuring|Merged|Moved|"
    "Named|Paired|Parsed|Picked|Placed|Planned|Predicted|Ran|Ranked|Read|Reading|Ready|Recorded|Reported|"
    "Resized|Resolved|Sampled|Saved|Seen|Selected|Sent|Shown|Skipped|Sorted|Stopped|Taken|Tested|Trained|Used|"
    "Written"
)
#: Where dicts of anything are the matter itself, and what they are.
DICTS = {
    "benchmark.parity": "fixtures in JSON",
    "config.aliases": "configuration trees",
    "config.provenance": "configuration trees",
    "config.registry": "JSON schemas",
    "config.tree": "configuration trees",
    "data.coco_results": "COCO's dicts",
    "evaluation.coco": "COCO's dicts",
    "evaluation.parts": "rows of a CSV file",
    "evaluation.submission": "COCO's dicts",
    "export.write": "the metadata of a file, as JSON",
    "inference.labelme": "labelme's dicts",
    "inference.prediction": "COCO's dicts",
    "onnx": "COCO's dicts",
    "ops.arrays": "COCO's run-length dicts",
    "ops.masks": "COCO's run-length dicts",
    "report.page": "JSON and configurations of any version",
    "report.runs": "JSON and configurations of any version",
    "runtime.environment": "environment.json",
    "model.timm_backbones": "what timm says of a model",
    "training.optimizer": "PyTorch's parameter groups",
    "training.start": "configuration trees",
    "weights.foreign": "configuration trees",
    "weights.start": "configuration trees",
    "weights.zoo": "configuration trees",
}
#: Packages whose functions work on tensors and arrays, and modules in them whose signatures are PyTorch's.
TENSOR_PACKAGES = frozenset(("evaluation", "model", "ops", "structures"))
FOREIGN_SIGNATURES = frozenset(("ops.weighted_sum_triton",))

PENDING: dict[str, set[str]] = {
    "names used twice": set(),
    "verbs and participles": set(),
    "argument lines": set(),
    "results without a type": set(),
    "tensors without a shape": set(),
    "modules without a test file": set(),
}


def definitions(*kinds):
    """Yield (module, dotted name in it, node) of classes or functions, without those in functions."""

    def walk(module, node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, kinds):
                yield module, prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from walk(module, child, f"{prefix}{child.name}.")

    for module, tree in TREES.items():
        yield from walk(module, tree, "")


def is_public(name):
    return not any(part.startswith("_") for part in name.split("."))


def test_no_class_name_is_used_twice():
    every = (node for tree in TREES.values() for node in ast.walk(tree))
    counts = Counter(node.name for node in every if isinstance(node, ast.ClassDef))
    assert {name for name, count in counts.items() if count > 1} == PENDING["names used twice"]


def test_classes_are_named_by_what_they_are():
    found = definitions(ast.ClassDef)
    wrong = {f"{module}: {name}" for module, name, node in found if NO_NAMES.fullmatch(node.name.strip("_"))}
    assert wrong == PENDING["verbs and participles"]


@pytest.mark.parametrize("module", MODULES)
def test_argument_lines_say_what_the_thing_is(module):
    wrong = re.findall(r"^ +\w+: Of\b.*", SOURCES[module], re.MULTILINE)
    assert bool(wrong) == (module in PENDING["argument lines"]), wrong


@pytest.mark.parametrize("module", [name for name in MODULES if name != "config.aliases"])
def test_images_have_one_word(module):
    assert re.findall(r".*picture.*", SOURCES[module], re.IGNORECASE) == []


def returns_dicts(node):
    return node.returns is not None and "dict[str, Any]" in ast.unparse(node.returns)


def test_results_have_a_type():
    wrong = {
        f"{module}: {name}"
        for module, name, node in definitions(ast.FunctionDef)
        if is_public(name) and returns_dicts(node)
        if node.name not in ("to_json", "to_dict") and module not in DICTS
    }
    assert wrong == PENDING["results without a type"]


def test_modules_that_may_return_dicts_do():
    assert {module for module, _, node in definitions(ast.FunctionDef) if returns_dicts(node)} >= set(DICTS)


def sections(docstring):
    """Return what comes first in a docstring, and the text of each section by its title."""
    titles = r"^(Args|Attributes|Returns|Yields|Raises|Source|Reading|Law):"
    first, *rest = re.split(titles, docstring, flags=re.MULTILINE)
    return first, dict(zip(rest[::2], rest[1::2], strict=True))


def entry(section, name):
    """Return what a section says of an argument, or None."""
    found = re.search(rf"^    {name}: (.*?)(?=^    \w+: |\Z)", section, re.MULTILINE | re.DOTALL)
    return found and found[1]


def has_shape(text):
    """Whether a text gives a shape, says that there is none, or sends the reader on."""
    return bool(re.search(r"\[[^\]]*\]|\bscalars?\b|any shape|\b[Ss]ee `", text, re.IGNORECASE))


def is_tensor(annotation):
    return annotation is not None and bool(re.search(r"\b(Tensor|NDArray)\b", ast.unparse(annotation)))


def without_shape(node):
    """Yield the arguments (and `return`) of a function, or the fields of a class, that lack a shape."""
    first, told = sections(ast.get_docstring(node) or "")
    listed = told.get("Args", "") + told.get("Attributes", "")
    if isinstance(node, ast.ClassDef):
        fields = (one for one in node.body if isinstance(one, ast.AnnAssign))
        given = {one.target.id: one.annotation for one in fields}
    else:
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        given = {one.arg: one.annotation for one in arguments}
        if is_tensor(node.returns) and not has_shape(told.get("Returns", told.get("Yields", first))):
            yield "return"
    for name, annotation in given.items():
        text = entry(listed, name)
        if is_tensor(annotation) and not has_shape(first if text is None else text):
            yield name


def test_tensors_have_a_shape():
    wrong = {
        f"{module}: {name}({argument})"
        for module, name, node in definitions(ast.FunctionDef, ast.ClassDef)
        if module.partition(".")[0] in TENSOR_PACKAGES and module not in FOREIGN_SIGNATURES
        if is_public(name) and not any(ast.unparse(one) == "overload" for one in node.decorator_list)
        for argument in without_shape(node)
    }
    assert wrong == PENDING["tensors without a shape"]


def test_each_module_has_a_test_file_at_its_place():
    wrong = {
        module
        for module, path in MODULES.items()
        if path.stem not in ("__init__", "__main__") and not module.startswith("commands._")
        if not TESTS.joinpath(*module.split(".")[:-1], f"test_{path.stem}.py").is_file()
    }
    assert wrong == PENDING["modules without a test file"]

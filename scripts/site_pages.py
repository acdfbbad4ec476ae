"""MkDocs hook: adds the pages that are made from the code, links `file::symbol`, and sets the navigation.

A page of `docs/` that is not named here comes under "Guides" by itself.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File, Files
from typer.main import get_command

from dprd_cli.cli import app
from dprd_cli.commands._examples import EXAMPLES
from dprd_cli.commands._help import sections

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "dprd_cli"

#: Pages of the repository's root: name in the site, and in the navigation.
ROOT_PAGES = {
    "README.md": ("overview.md", "Overview"),
    "CHANGELOG.md": ("changelog.md", "Changes"),
    "CONTRIBUTING.md": ("contributing.md", "Contributing"),
    "SECURITY.md": ("security.md", "Security"),
    "CODE_OF_CONDUCT.md": ("code_of_conduct.md", "Code of conduct"),
}
#: Pages of `docs/` in an order of their own; the others follow by name.
FIRST_GUIDES = (
    "tutorial.md",
    "own-data.md",
    "data.md",
    "training.md",
    "evaluate.md",
    "predict.md",
    "gradcam.md",
    "report.md",
    "export.md",
    "share.md",
    "extend.md",
    "configuration.md",
    "machine.md",
)
PAPER = (
    "paper.md",
    "architecture.md",
    "reading.md",
    "evidence.md",
    "evidence-reproduced.md",
    "evidence-not-reproduced.md",
    "evidence-photographs.md",
    "ablations.md",
    "parity.md",
)
#: Modules with an API page, beside those of `model/`.
API = (
    "api",
    "inference.prediction",
    "training.start",
    "training.result",
    "evaluation.checkpoint",
    "evaluation.evaluate",
    "evaluation.coco",
    "evaluation.voc",
    "inference.model",
    "inference.predict",
    "inference.predictor",
    "distributed.detect",
    "distributed.job",
    "gradcam.explain",
    "export.detector",
    "weights.load",
    "config.schema",
    "config.model_schema",
    "config.presets",
    "structures.sample",
    "structures.detections",
    "ops.boxes",
    "ops.masks",
    "errors",
)

SYMBOL = re.compile(r"`([a-z_0-9/]+\.py)::([A-Za-z_0-9.]+)`")
SEVERAL = re.compile(r"(?<=`), (?=`[a-z_0-9/]+\.py::)")


def on_files(files: Files, config: Any) -> Files:
    """Add generated pages and the images of `assets/`, and set the navigation."""
    for source, (name, _) in ROOT_PAGES.items():
        files.append(File.generated(config, name, content=root_page(ROOT / source)))
    for path in sorted((ROOT / "assets").glob("*.*")):
        if path.suffix in {".jpg", ".png"}:
            files.append(File(f"assets/{path.name}", str(ROOT), config.site_dir, config.use_directory_urls))
    notebook = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text(encoding="utf-8"))
    files.append(File.generated(config, "tutorial.md", content=notebook_page(notebook)))
    commands = []
    for words, command in walk(get_command(app), ("dprd",)):
        name = f"commands/{'-'.join(words[1:])}.md"
        files.append(File.generated(config, name, content=command_page(words, command)))
        commands.append({" ".join(words): name})
    reference = []
    for module in api_modules():
        name = f"api/{module}.md"
        content = f"# `dprd_cli.{module}`\n\n::: dprd_cli.{module}\n"
        files.append(File.generated(config, name, content=content))
        reference.append({module: name})
    pages = {file.src_uri for file in files.documentation_pages() if "/" not in file.src_uri}
    guides = [name for name in FIRST_GUIDES if name in pages]
    known = {"index.md", "cite.md", *guides, *PAPER, *(name for name, _ in ROOT_PAGES.values())}
    config.nav = [
        "index.md",
        {"Overview": "overview.md"},
        {"Guides": guides + sorted(pages - known)},
        {"Commands": commands},
        {"The paper": [name for name in PAPER if name in pages]},
        {"Python": reference},
        {
            "Project": [
                {"Changes": "changelog.md"},
                {"Contributing": "contributing.md"},
                {"Security": "security.md"},
                {"Code of conduct": "code_of_conduct.md"},
                {"Citing": "cite.md"},
            ]
        },
    ]
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite what leads out of `docs/` in the repository, and link symbols."""
    above = "../" * page.file.src_uri.count("/")
    for source, (name, _title) in ROOT_PAGES.items():
        markdown = markdown.replace(f"](../{source}", f"]({above}{name}")
    markdown = markdown.replace("](../assets/", f"]({above}assets/").replace(
        "(tutorial.ipynb)", "(tutorial.md)"
    )
    return SYMBOL.sub(lambda match: _link(match[1], match[2]), SEVERAL.sub("<br>", markdown))


def root_page(path: Path) -> str:
    """Return a page of the root with links as from `docs/`."""
    text = path.read_text(encoding="utf-8").replace("](docs/", "](")
    for source, (name, _) in ROOT_PAGES.items():
        text = text.replace(f"]({source}", f"]({name}")
    return re.sub(r"\[([^\]]+)\]\(LICENSE\)", r"\1", text)


def notebook_page(notebook: dict[str, Any]) -> str:
    """Return a notebook as a page: its texts, its code, and what that printed and showed."""
    blocks: list[str] = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            blocks.append(source)
            continue
        language = "sh" if source.startswith("!") else "python"
        blocks.append(f"```{language}\n{re.sub('^!', '', source, flags=re.MULTILINE)}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/jpeg" in data:
                blocks.append(
                    f'<img alt="What the code shows" src="data:image/jpeg;base64,{data["image/jpeg"]}">'
                )
            else:
                text = "".join(output.get("text") or data["text/plain"])
                blocks.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(blocks) + "\n"


# ---- commands -------------------------------------------------------------------------------------------


def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the words and the object of every command that is no group."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
        return
    for name, child in inner.items():
        if not child.hidden:
            yield from walk(child, (*words, name))


def command_page(words: tuple[str, ...], command: Any) -> str:
    """Return the page of a command: what `--help` says, as Markdown."""
    root = typer.Context(get_command(app), info_name=words[0])
    context = typer.Context(command, info_name=" ".join(words[1:]), parent=root)
    usage = " ".join([*words, *command.collect_usage_pieces(context)])
    blocks = [f"# {' '.join(words)}", _text(command.help), f"    {usage}"]
    examples = [f"    # {purpose}\n    {line}" for purpose, line in EXAMPLES.get(" ".join(words[1:]), ())]
    if examples:
        blocks.append("\n".join(["## Examples", "", *examples]))
    for title, entries in sections(command, context).items():
        rows = [f"| {_code(name)} | {_cell(text)} |" for name, text in entries]
        blocks.append("\n".join([f"## {title}", "", "| | |", "|---|---|", *rows]))
    return "\n\n".join(blocks) + "\n"


def _code(text: str) -> str:
    return f"<code>{_cell(text)}</code>"  # a code span in a table cannot hold a |


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("<", "&lt;").replace("|", "&#124;")


def _text(text: str | None) -> str:
    return (text or "").split("\f")[0].strip().replace("<", "&lt;")


# ---- code -----------------------------------------------------------------------------------------------


def api_modules() -> list[str]:
    """Return the modules with an API page, by dotted name without the package's."""
    model = sorted(path.stem for path in (PACKAGE / "model").glob("[a-z]*.py"))
    return [*API, *(f"model.{name}" for name in model)]


def find_symbol(path: str, symbol: str) -> int:
    """Return the line on which a module, by its path in the package, defines a name or `Class.name`.

    Raises:
        LookupError: If it does not.
    """
    file = PACKAGE / path
    if not file.is_file():
        raise LookupError(f"{path}: no such module")
    body: list[ast.stmt] = ast.parse(file.read_text(encoding="utf-8")).body
    line = 0
    for name in symbol.split("."):
        found = next((node for node in body if name in _names(node)), None)
        if found is None:
            raise LookupError(f"{path}: does not define {symbol}")
        line, body = found.lineno, getattr(found, "body", [])
    return line


def _names(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _link(path: str, symbol: str) -> str:
    label = f"`{symbol}` <small>{path}:{find_symbol(path, symbol)}</small>"
    module = path.removesuffix(".py").replace("/", ".")
    return f"[{label}](api/{module}.md#dprd_cli.{module}.{symbol})" if module in api_modules() else label

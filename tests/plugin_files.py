"""The plugins that docs/extend.md shows, and forgetting them; on the import path of every test."""

import contextlib
import re
import sys

from dprd_cli.config import plugins
from dprd_cli.config.registry import REGISTRIES
from paths import ROOT

PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
#: File name -> its code.
EXAMPLES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))


def write_example(folder, name):
    path = folder / name
    path.write_text(EXAMPLES[name], encoding="utf-8")
    return path


def forget():
    """Forget all plugins, as a new process would have it."""
    plugins._LOADED.clear()
    for name in [name for name in sys.modules if name.startswith("dprd_plugin_")]:
        del sys.modules[name]
    for registry in REGISTRIES.values():
        own = {name: maker for name, maker in registry.items() if name not in registry.from_plugins}
        registry.reset(own, {})


@contextlib.contextmanager
def forgotten():
    """Leave no plugin behind, and find none."""
    forget()
    try:
        yield
    finally:
        forget()

"""Plugins run where their user names them, and nowhere else."""

import logging
import sys

import pytest

from dprd_cli.config import plugins, registry
from dprd_cli.config.plugins import (
    PluginNeededError,
    is_loaded,
    load_own_plugins,
    load_plugins,
    loaded_plugins,
    named_plugins,
    with_plugins,
)
from dprd_cli.config.tree import read_toml, validate
from dprd_cli.errors import DprdWarning, UsageError, UserError
from plugin_files import forget, forgotten

CODE = """
import pathlib
from dprd_cli import register
pathlib.Path(__file__).with_suffix(".ran").open("a").write("x")

@register.neck("mine")
def mine(options):
    return options
"""


@pytest.fixture(autouse=True)
def _no_plugins(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with forgotten():
        yield


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


def runs(plugin):
    path = plugin.with_suffix(".ran")
    return len(path.read_text()) if path.exists() else 0


def test_a_plugin_that_is_named_runs_once_and_is_told_of(plugin, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "dprd_cli")
    monkeypatch.chdir(plugin.parent)
    assert load_plugins(["mine.py", str(plugin)]) == load_plugins([str(plugin)]) == (str(plugin),)
    assert runs(plugin) == 1
    assert caplog.messages == [f"plugin {plugin}: running its code"]
    assert loaded_plugins() == (str(plugin),)
    assert registry.neck.call("mine", 3) == 3
    assert validate({"plugins": [str(plugin)], "model": {"neck": {"name": "mine"}}}).model.neck.name == "mine"


def test_a_module_is_one_too(tmp_path, monkeypatch):
    (tmp_path / "my_plugins").mkdir()
    (tmp_path / "my_plugins" / "neck.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    assert load_plugins(["my_plugins.neck"]) == ("my_plugins.neck",)
    assert "mine" in registry.neck
    for name in ("my_plugins.neck", "my_plugins"):
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("\n\n1 / 0\n", r"ZeroDivisionError: division by zero \(line 3\); mend the plugin$"),
        ("\nx = = 1\n", r"SyntaxError: .*\(line 2\); mend the plugin$"),
        ("import dprd_cli.nothing_of_this", r"ModuleNotFoundError: No module named .*\(line 1\); mend"),
        (
            CODE + "\n@register.neck('fpn')\ndef own(options): ...",
            "neck 'fpn' is built in; choose another name$",
        ),
        (CODE + "\nraise SystemError('late')", r"SystemError: late \(line 10\)"),
    ],
)
def test_a_plugin_that_fails_is_a_line_and_leaves_nothing(plugin, code, line):
    plugin.write_text(code)
    before = dict(registry.neck), list(sys.modules)
    with pytest.raises(UserError, match=rf"^--plugin {plugin}: {line}"):
        load_plugins([str(plugin)])
    assert (dict(registry.neck), [name for name in sys.modules if "dprd_plugin" in name]) == (before[0], [])
    assert loaded_plugins() == ()


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("nowhere.py", "no such file"),
        ("a/b", "no such file"),
        ("no_such_module_here", "no such module is installed; a file's name ends in .py"),
        ("no_such_module_here.part", "no such module is installed; a file's name ends in .py"),
        (".relative", "not the name of a module"),
        ("", "not the name of a module"),
    ],
)
def test_what_is_not_there_is_named(spec, line):
    with pytest.raises(UsageError, match=line):
        load_plugins([spec])


def test_one_that_registers_nothing_is_warned_of(plugin):
    plugin.write_text("x = 1")
    with pytest.warns(DprdWarning, match=r"mine\.py: registers nothing \(docs/extend\.md\)"):
        load_plugins([str(plugin)])


def test_a_configuration_alone_runs_nothing(plugin, tmp_path):
    for tree in ({"plugins": [str(plugin)]}, {"plugins": str(plugin)}):
        with pytest.raises(PluginNeededError) as caught:
            validate(tree, "a.toml")
        assert str(caught.value) == (
            f"a.toml: needs the plugin {plugin}, whose code runs only if you name it: --plugin {plugin}"
        )
    with pytest.raises(PluginNeededError, match=r"needs the plugin gone\.py, .*: --plugin gone\.py$"):
        validate({"plugins": [f"{tmp_path}/elsewhere/gone.py"]})
    assert runs(plugin) == 0


def test_a_run_of_one_s_own_runs_what_was_named_before_and_nothing_that_changed(plugin):
    load_own_plugins([str(plugin)])
    assert runs(plugin) == 0  # never named on this computer
    load_plugins([str(plugin)])
    forget()
    load_own_plugins([str(plugin)])
    assert (runs(plugin), is_loaded(str(plugin))) == (2, True)
    forget()
    plugin.write_text(CODE + "\n# changed")
    load_own_plugins([str(plugin), str(plugin.with_name("none.py")), "sys", "\0.py"])
    assert (runs(plugin), loaded_plugins()) == (2, ())


def test_a_run_has_no_large_file_read(plugin, monkeypatch):
    load_plugins([str(plugin)])
    forget()
    monkeypatch.setattr(plugins, "_LARGEST", len(CODE) - 1)
    load_own_plugins([str(plugin)])
    assert (runs(plugin), loaded_plugins()) == (1, ())


def test_code_that_was_compiled_before_is_not_run(plugin):
    """A `__pycache__` beside the file could hold anything."""
    import importlib.util
    import os
    import py_compile

    evil = plugin.with_name("evil.py")
    evil.write_text("raise SystemExit('evil')".ljust(len(CODE)))
    times = (plugin.stat().st_atime, plugin.stat().st_mtime)
    os.utime(evil, times)
    py_compile.compile(str(evil), importlib.util.cache_from_source(str(plugin)), dfile=str(plugin))
    load_plugins([str(plugin)])
    assert runs(plugin) == 1


def test_without_a_cache_folder_nothing_is_remembered(plugin, monkeypatch):
    monkeypatch.setattr(plugins, "cache_folder", lambda: None)
    load_plugins([str(plugin)])
    forget()
    load_own_plugins([str(plugin)])
    assert runs(plugin) == 1


def test_a_file_that_has_moved_is_known_by_its_name(plugin):
    load_plugins([str(plugin)])
    assert is_loaded("/where/it/was/mine.py")
    assert is_loaded("C:\\where\\mine.py")
    assert not is_loaded("/where/it/was/other.py")
    assert not is_loaded("mine")
    assert with_plugins(["/old/mine.py", "package.part"], ["/new/mine.py"]) == [
        "package.part",
        "/new/mine.py",
    ]
    assert with_plugins(["a"], []) == ["a"]


@pytest.mark.parametrize("value", [3, None, {"a": 1}, [1, None], True])
def test_whatever_a_file_says_is_no_plugin(value):
    assert named_plugins({"plugins": value}) == []


def test_a_config_file_is_read_and_runs_nothing(plugin):
    file = plugin.with_name("config.toml")
    file.write_text(f'plugins = ["{plugin}"]\n')
    assert read_toml(file)["plugins"] == [str(plugin)]
    assert runs(plugin) == 0

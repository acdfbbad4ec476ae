"""Run folders for reports, and a strict reader of the pages that are written of them."""

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from paths import TINY

VOID = {"meta", "img", "wbr", "br", "hr", "link", "input"}


def rows(steps=3):
    """Return rows of a run's metrics, as training writes them."""
    train = [
        {"kind": "train", "step": n, "loss": 5.0 / n, "part_iou": 0.9, "lr": 1e-3}
        for n in range(1, steps + 1)
    ]
    return [*train, {"kind": "eval", "step": steps, "images": 4, "bbox_AP": 12.5, "bbox_AP50": 30.0}]


def make_run(name, checkpoint=None, **files):
    """Make a run folder with a configuration, metrics, an environment, and other files' texts."""
    folder = Path(name)
    folder.mkdir()
    texts = {
        "config.toml": TINY.read_text(),
        "metrics.jsonl": "".join(json.dumps(row) + "\n" for row in rows()),
        "environment.json": json.dumps({"dprd": "0.1.0", "device": "cpu", "commit": "abc", "torch": "2"}),
        **files,
    }
    for file, content in texts.items():
        if content is not None:
            (folder / file).write_text(content)
    if checkpoint is not None:
        (folder / "best.pt").write_bytes(checkpoint.read_bytes())
    return folder


class PageReader(HTMLParser):
    """Reads a page strictly: every element is closed in order."""

    def __init__(self, path):
        super().__init__()
        self.open, self.ids, self.references, self.images, self.links = [], [], [], [], []
        self.words = []
        self.source = Path(path).read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        assert not any(key.startswith("on") for key in given)
        self.references += [given[key] for key in ("src", "href", "data", "action", "srcset") if key in given]
        self.ids += [given["id"]] if "id" in given else []
        if tag == "a":
            self.links.append(given["href"])
        if tag == "img" or (tag == "svg" and "role" in given):
            self.images.append(given.get("alt") or given.get("aria-label"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def check(path):
    """Return a page that needs nothing else, whose ids differ, whose links lead somewhere."""
    page = PageReader(path)
    assert all(one.startswith(("#", "data:image/")) for one in page.references)
    assert not re.search(r"@import|url\((?!#)", page.source)
    assert [name for name, times in Counter(page.ids).items() if times > 1] == []
    assert all(one[1:] in page.ids for one in page.references if one.startswith("#"))
    assert set(re.findall(r"url\(#([\w-]+)\)", page.source)) <= set(page.ids)
    assert all(page.images)
    assert "<script" not in page.source
    return page

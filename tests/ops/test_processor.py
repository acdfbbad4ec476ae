"""What is told of a processor."""

import pytest
import torch

from dprd_cli.ops import processor
from dprd_cli.ops.processor import has_slow_products, processor_fields


@pytest.fixture
def system(monkeypatch):
    """Say what the system tells: the text of its list of processors, or None where it has none."""

    def tell(text, name=""):
        class Listing:
            def __init__(self, path):
                assert path == "/proc/cpuinfo"

            def read_text(self, errors):
                if text is None:
                    raise OSError
                return text

        monkeypatch.setattr(processor, "Path", Listing)
        monkeypatch.setattr(processor.platform, "processor", lambda: name)
        clear()

    def clear():
        processor_fields.cache_clear()
        has_slow_products.cache_clear()

    yield tell
    monkeypatch.undo()
    clear()


def test_fields_are_the_first_processor_s(system):
    system("vendor_id\t: GenuineIntel\nmodel name\t: A: B\nflags\t\t: fpu amx_bf16\n\nmodel name\t: C\n\n")
    fields = processor_fields()
    assert (fields["vendor_id"], fields["model name"]) == ("GenuineIntel", "A: B")
    assert fields["flags"].split() == ["fpu", "amx_bf16"]


def test_without_a_list_of_processors_the_system_says_what_it_has(system):
    system(None, "arm")
    assert processor_fields() == {"model name": "arm"}
    assert not has_slow_products()


@pytest.mark.parametrize(
    ("text", "name", "slow"),
    [
        ("vendor_id\t: AuthenticAMD\n", "", True),
        ("vendor_id\t: GenuineIntel\nmodel name\t: not an AMD\n", "", False),
        (None, "AMD64 Family 25 Model 33 Stepping 0, AuthenticAMD", True),
        ("", "", False),
    ],
)
def test_products_are_slow_on_amd_s_processors_by_mkl(system, monkeypatch, text, name, slow):
    system(text, name)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert has_slow_products() == slow
    has_slow_products.cache_clear()
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert not has_slow_products()

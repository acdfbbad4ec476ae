"""What `--precision` stands for on a device: the rule, with what a CPU has and measures given."""

import time

import pytest
import torch
import torch.nn.functional as F

from dprd_cli.errors import UsageError
from dprd_cli.runtime import precision
from dprd_cli.runtime.precision import Bf16Support, autocast, bf16_instructions, choose_precision

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))
AMX, AVX = Bf16Support("AMX", 7.3), Bf16Support("AVX512-bf16", 0.5)


@pytest.mark.parametrize(
    ("found", "name", "reason"),
    [
        (AMX, "bf16", "AMX: a 3x3 convolution in bfloat16 is 7.3 times as fast"),
        (AVX, "fp32", "AVX512-bf16: a 3x3 convolution in bfloat16 is 0.5 times as fast"),
        (Bf16Support("AVX512-bf16", 1.25), "bf16", "bfloat16 is 1.2 times as fast"),
        (Bf16Support("AVX512-bf16", 1.24), "fp32", "bfloat16 is 1.2 times as fast"),
        (Bf16Support(), "fp32", "the CPU has no instructions for bfloat16"),
    ],
)
def test_on_a_cpu_auto_takes_what_is_faster(found, name, reason):
    choice = choose_precision("auto", CPU, lambda: found)
    assert (choice.name, choice.support) == (name, found)
    assert reason in choice.line()
    assert choice.line().startswith("bfloat16 (" if name == "bf16" else "float32 (")


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_what_is_asked_for_is_taken_and_nothing_measured(asked):
    choice = choose_precision(asked, CPU, pytest.fail)
    assert (choice.name, choice.reason, choice.support) == (asked, "asked for", None)


@pytest.mark.parametrize(("capability", "name"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp32")])
def test_on_a_gpu_auto_takes_bfloat16_where_it_has_it(monkeypatch, capability, name):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", CUDA, pytest.fail).name == name


def test_apples_gpu_computes_in_float32():
    assert choose_precision("auto", MPS, pytest.fail).line() == "float32 (the only one on mps)"
    with pytest.raises(UsageError, match=r"^--precision bf16: not on mps; take fp32, or auto$"):
        choose_precision("bf16", MPS)
    with autocast(MPS, "fp32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_a_wrong_word_is_told():
    expected = r"^unknown precision 'bf61' \(did you mean 'bf16'\?\); there are: auto, fp32, bf16$"
    with pytest.raises(UsageError, match=expected):
        choose_precision("bf61", CPU)


@pytest.fixture
def functions(monkeypatch):
    """Let PyTorch say which instructions there are, or not know; and Linux."""

    def pretend(amx, avx, flags=()):
        for name, value in (("_is_amx_tile_supported", amx), ("_is_avx512_bf16_supported", avx)):
            if value is None:
                monkeypatch.delattr(torch.cpu, name, raising=False)
            else:
                monkeypatch.setattr(torch.cpu, name, lambda value=value: value, raising=False)
        monkeypatch.setattr(precision, "_flags", lambda: set(flags))

    return pretend


@pytest.mark.parametrize(
    ("amx", "avx", "flags", "expected"),
    [
        (True, True, [], "AMX"),
        (False, True, ["amx_bf16"], "AVX512-bf16"),
        (False, False, [], ""),
        (None, None, ["fpu", "amx_bf16", "avx512_bf16"], "AMX"),
        (None, None, ["avx512_bf16"], "AVX512-bf16"),
        (None, None, [], ""),
    ],
)
def test_the_best_instructions_are_named(functions, amx, avx, flags, expected):
    functions(amx, avx, flags)
    assert bf16_instructions() == expected


def test_a_function_that_a_build_lacks_names_none(functions, monkeypatch):
    functions(False, False)

    def missing():
        raise RuntimeError("not compiled for this processor")

    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", missing, raising=False)
    assert bf16_instructions() == ""


def test_it_is_measured_once_and_only_where_instructions_are_named(monkeypatch):
    measured = []
    monkeypatch.setattr(precision, "convolution_ratio", lambda: measured.append(1) or 3.0)
    for names, expected in (("", Bf16Support()), ("AMX", Bf16Support("AMX", 3.0))):
        monkeypatch.setattr(precision, "bf16_instructions", lambda names=names: names)
        precision.cpu_support.cache_clear()
        assert precision.cpu_support() is precision.cpu_support()
        assert precision.cpu_support() == expected
    assert len(measured) == 1
    precision.cpu_support.cache_clear()


def test_measuring_gives_a_ratio_and_draws_no_number():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert precision.convolution_ratio() > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_waited_for_does_not_count(monkeypatch):
    usual = F.conv2d

    def alike_but_interrupted(image, weight, **options):
        if image.dtype == torch.float32:
            time.sleep(0.02)  # another program has the processor
        return usual(image.float(), weight.float(), **options)

    monkeypatch.setattr(F, "conv2d", alike_but_interrupted)
    assert 0.25 < precision.convolution_ratio() < 4  # by the time of day at least 8


def test_measuring_is_on_one_thread_and_leaves_their_number(monkeypatch):
    threads, seen = torch.get_num_threads(), []

    def fails(*inputs, **options):
        seen.append(torch.get_num_threads())
        raise RuntimeError("no such kernel")

    precision.convolution_ratio()
    assert torch.get_num_threads() == threads
    monkeypatch.setattr(F, "conv2d", fails)
    with pytest.raises(RuntimeError, match="no such kernel"):
        precision.convolution_ratio()
    assert (seen, torch.get_num_threads()) == ([1], threads)


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_are_in_the_precision_on_a_cpu(name, dtype):
    with autocast(CPU, name):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype

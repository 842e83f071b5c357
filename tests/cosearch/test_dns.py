"""The network search and the training of one network."""

import dataclasses
import math
import os
import re
import subprocess
import sys

import pytest
import torch

from dna_asic.cosearch import training
from dna_asic.cosearch.compute import BF16_INSTRUCTIONS, CPU, Compute, share_cores
from dna_asic.cosearch.dns import JUDGED, DnsSettings, NetworkSearch
from dna_asic.cosearch.training import (
    SOFTENED,
    TrainSettings,
    augment,
    batches,
    evaluate,
    mix,
    train_network,
    unlike,
)
from dna_asic.data import DatasetSplits, Subset
from dna_asic.errors import SpecError
from dna_asic.networks import build_network, load_macro

MACRO = load_macro("digits")
WIDTH = len(MACRO.candidates)
COSTS = (2, 8, WIDTH, 1, 1)  # energy and latency of stem, six blocks and head


def toy(count=24, seed=0):
    """Images whose class is the bright quadrant."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    images = torch.rand(count, 1, 8, 8, generator=generator) * 0.2
    for i, label in enumerate(labels.tolist()):
        images[i, 0, 4 * (label // 2):4 * (label // 2) + 4, 4 * (label % 2):4 * (label % 2) + 4] += 0.8
    return Subset(images, labels)


def make(seed=0, **settings):
    return NetworkSearch(MACRO, DnsSettings(epochs=4, **settings), seed)


def steps(search, count, hw_cost=None, lam=0.0):
    batch, losses = toy(), []
    for _ in range(count):
        losses.append((search.train_weights_step(batch), *search.arch_step(batch, hw_cost, lam)))
    return losses


def test_search_is_seeded():
    assert steps(make(3), 3) == steps(make(3), 3)
    assert steps(make(3), 2) != steps(make(4), 2)


def test_search_steps_touch_only_their_parameters():
    search = make()
    alpha = search.supernet.alpha.detach().clone()
    search.train_weights_step(toy())
    assert torch.equal(alpha, search.supernet.alpha)
    weights = [p.detach().clone() for p in search.supernet.weight_parameters]
    search.arch_step(toy(), torch.ones(COSTS), 1.0)
    assert not torch.equal(alpha, search.supernet.alpha)
    assert all(torch.equal(a, b) for a, b in zip(weights, search.supernet.weight_parameters, strict=True))


def test_search_follows_hardware_cost():
    search = make(arch_rate=0.3)
    cost = torch.ones(COSTS)
    cost[:, :, MACRO.candidates.index("k5_e3")] = 0.0
    before = search.entropy()
    losses = steps(search, 30, cost, lam=50.0)
    assert search.derive() == ["k5_e3"] * 6
    assert search.entropy() < before and losses[-1][2] < losses[0][2]


def test_search_follows_the_task():
    search = make(arch_rate=0.1)
    before = search.probabilities()
    steps(search, 4)
    assert (search.probabilities() - before).abs().max() > 0.01


def test_search_losses_add_up():
    *_, (_, task, hardware, total) = steps(make(), 1, torch.full(COSTS, 2.0), lam=0.5)
    assert hardware == pytest.approx(2 * math.log(16)) and total == pytest.approx(task + 0.5 * hardware, rel=1e-6)


def test_hardware_is_the_logarithm_of_sums():
    search, generator = make(), torch.Generator().manual_seed(0)
    cost = torch.rand(COSTS, generator=generator)
    gates = search.supernet.sample_gates(1.0, generator).detach().requires_grad_()
    value = search._hardware(gates, cost)
    chosen = [(0, 0), *((i + 1, k) for i, k in enumerate(gates.argmax(dim=1).tolist())), (7, 0)]
    energy, latency = (sum(cost[q, part, k, 0, 0] for part, k in chosen) for q in range(2))
    torch.testing.assert_close(value, (energy * latency).log())
    value.backward()
    torch.testing.assert_close(gates.grad, cost[0, 1:7, :, 0, 0] / energy + cost[1, 1:7, :, 0, 0] / latency)


def test_loss_of_one_network_is_that_of_its_module():
    search, part, cost = make(), toy(), torch.rand(COSTS, generator=torch.Generator().manual_seed(0))
    steps(search, 2)
    choice = search.sample()
    module = build_network(MACRO, choice, 0, search.supernet).train()
    logits = module(part.images)
    parts = [0, *(options.index(label) for options, label in zip(search.options, choice, strict=True)), 0]
    energy, latency = (sum(cost[q, i, k, 0, 0] for i, k in enumerate(parts)) for q in range(2))
    expected = torch.nn.functional.cross_entropy(logits, part.labels) + 0.5 * (energy * latency).log()
    assert search.loss(choice, part, cost, 0.5) == pytest.approx(expected.item(), rel=1e-5)
    assert search.accuracy(choice, part) == (logits.argmax(dim=1) == part.labels).float().mean()
    assert search.loss(choice, part, None, 0.5) == pytest.approx(
        torch.nn.functional.cross_entropy(logits, part.labels).item(), rel=1e-5)


def test_logits_of_many_images_come_in_parts_normalised_each_by_itself():
    search, images = make(), toy(JUDGED + 80).images
    choice = search.sample()
    with torch.no_grad():
        parts = [search.supernet.run_path(x, choice) for x in images.chunk(2)]
    assert torch.equal(search.logits(choice, images), torch.cat(parts))


def test_search_masks_impossible_candidates():
    search = make()  # block2 changes shape: it has no skip
    search.arch_step(toy(), torch.ones(COSTS), 1.0)
    assert search.probabilities()[2, -1] == 0 and torch.isfinite(search.supernet.alpha[:, :-1]).all()
    assert all(search.sample()[2] != "skip" for _ in range(20))


def test_search_entropy_and_temperature():
    search = make(temperature=4.0, temperature_decay=0.5)
    assert search.entropy() == pytest.approx((5 * math.log(WIDTH) + math.log(WIDTH - 1)) / 6)
    search.anneal()
    assert search.temperature == 2.0


def test_search_checkpoint_resumes_exactly(tmp_path):
    whole = make()
    steps(whole, 2)
    whole.anneal()
    torch.save(whole.state_dict(), tmp_path / "search.pt")
    expected = steps(whole, 2)
    again = make(seed=9)
    again.load_state_dict(torch.load(tmp_path / "search.pt", weights_only=True))
    assert steps(again, 2) == expected and again.temperature == whole.temperature


def test_search_wrong_checkpoint():
    with pytest.raises(SpecError, match="Checkpoint does not fit macro 'digits'"):
        make().load_state_dict({"supernet": {}})


@pytest.mark.parametrize("cost", [torch.zeros(6, WIDTH), torch.full(COSTS, torch.inf)])
def test_search_wrong_hw_cost(cost):
    with pytest.raises(SpecError, match=r"hw_cost must be finite numbers \[2, 8, 10, 1, 1\]"):
        make().arch_step(toy(), cost, 1.0)


def test_training_learns_and_is_seeded():
    splits = DatasetSplits(name="digits", num_classes=4, train=toy(64), val=toy(16, 1), test=toy(16, 2))
    states, seen = [], []
    for _ in range(2):
        module = build_network(MACRO.fitted((1, 8, 8), 4), ["k3_e1"] * 6, 0)
        train_network(module, splits, 6, 0, progress=lambda epoch, loss: seen.append((epoch, loss)),
                      settings=TrainSettings(batch=16))
        states.append(module.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert evaluate(module, *splits.test) == 1.0 and not module.training
    assert [e for e, _ in seen] == [*range(6)] * 2 and seen[5][1] < seen[0][1]


def test_mixed_precision_learns_in_float32_weights():
    """bfloat16 autocast and channels last, as on a GPU, on the CPU."""
    mixed = Compute(torch.device("cpu"), mixed=True)
    splits = DatasetSplits(name="digits", num_classes=4, train=toy(64), val=toy(16, 1), test=toy(16, 2))
    module = build_network(MACRO.fitted((1, 8, 8), 4), ["k3_e1"] * 6, 0)
    dtypes = set()
    module.units["stem"].conv.register_forward_hook(lambda unit, x, y: dtypes.add(y.dtype))
    train_network(module, splits, 6, 0, settings=TrainSettings(batch=16), compute=mixed)
    assert dtypes == {torch.bfloat16} and {p.dtype for p in module.parameters()} == {torch.float32}
    assert all(p.is_contiguous() for p in module.parameters()) and evaluate(module, *splits.test) > 0.9


def test_mixed_precision_searches():
    search = NetworkSearch(MACRO, DnsSettings(epochs=4), 0, Compute(torch.device("cpu"), mixed=True))
    alpha, plain = search.supernet.alpha.detach().clone(), make()
    loss = search.train_weights_step(toy())
    assert loss == pytest.approx(plain.train_weights_step(toy()), rel=0.05)
    search.arch_step(toy(), torch.ones(COSTS), 1.0)
    assert not torch.equal(search.supernet.alpha, alpha) and search.supernet.alpha.dtype == torch.float32


def test_compute_named():
    assert Compute.named("cpu", "cifar10:x") == Compute.named("auto", "digits") == CPU and not CPU.mixed


def test_compute_chooses_cuda_where_it_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Compute.named("auto", "cifar10:x") == Compute.named("cuda", "digits") == Compute(torch.device("cuda"), True)
    assert Compute.named("auto", "digits") == CPU
    for key, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(key, value)
    assert Compute.named("auto", "cifar10:x") == Compute(torch.device("cuda", 1), True, rank=5, ranks=8)


def test_compute_wrong_cuda_where_it_is_not(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SpecError, match="--device must be one that is here, not cuda: PyTorch .* use cpu"):
        Compute.named("cuda", "digits")


def test_compute_in_bfloat16_on_the_cpu(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": False, "avx512_bf16": True})
    compute = Compute.named("cpu-bf16", "digits")
    assert compute == Compute(torch.device("cpu"), True) and os.environ["ONEDNN_MAX_CPU_ISA"] == "ALL"
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    for searches, threads in ((2, 1), (1, 3)):
        share_cores(searches)
        with compute.busy():
            assert torch.get_num_threads() == threads
    with CPU.busy():
        assert torch.get_num_threads() == 1


@pytest.mark.skipif(not any(map(torch.cpu.get_capabilities().get, BF16_INSTRUCTIONS)),
                    reason="this processor has no bfloat16 instructions")
@pytest.mark.parametrize("device, found", [("cpu-bf16", "avx512_core_(bf16|amx)|avx10"), ("cpu", "avx2$")])
def test_convolutions_take_the_instructions_of_the_device(device, found):
    """By what oneDNN says of itself, in a process where nothing was convolved before."""
    code = (f"from dna_asic.cosearch.compute import Compute\nimport torch\n"
            f"compute = Compute.named('{device}', 'digits')\nwith compute.autocast():\n"
            f"    torch.nn.functional.conv2d(torch.rand(8, 16, 8, 8), torch.rand(16, 16, 3, 3))")
    said = subprocess.run([sys.executable, "-c", code], env=os.environ | {"ONEDNN_VERBOSE": "1"}, text=True,
                          capture_output=True, check=True).stdout
    kernels = re.findall(r"exec,cpu,convolution,[^,:]*:(\w+)", said)
    assert kernels and all(re.search(found, kernel) for kernel in kernels), said


def test_compute_wrong_bfloat16_where_it_is_not(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": False})
    with pytest.raises(SpecError, match="not cpu-bf16: PyTorch .* none of avx512_bf16, amx_bf16 in this .* use cpu"):
        Compute.named("cpu-bf16", "digits")


def test_batches_cover_and_leave_no_single_image():
    parts = batches(33, 16, torch.Generator().manual_seed(0))
    assert [len(p) for p in parts] == [16, 17] and sorted(torch.cat(parts).tolist()) == list(range(33))


def test_augment_shifts_by_one_pixel():
    image = torch.arange(64.0).reshape(1, 1, 8, 8)
    out = augment(image.repeat(200, 1, 1, 1), torch.Generator().manual_seed(0), mirror=False)
    centres = set(out[:, 0, 4, 4].tolist())
    assert out.shape == (200, 1, 8, 8) and centres == {float(8 * y + x) for y in (3, 4, 5) for x in (3, 4, 5)}


def test_augment_mirrors_half():
    image = torch.arange(8.0).expand(400, 1, 8, 8)
    out = augment(image, torch.Generator().manual_seed(0), mirror=True)
    flipped = (out[:, 0, 0, 0] > out[:, 0, 0, 7]).float().mean()
    assert 0.4 < flipped < 0.6


def test_augment_cutout():
    """A square of 4 x 4 pixels around any pixel of each image, less where it leaves the image."""
    image = torch.ones(300, 2, 8, 8)
    out = augment(image, torch.Generator().manual_seed(0), mirror=True, cutout=4)
    blank = (out[:, 0] == 0)
    assert torch.equal(blank, out[:, 1] == 0) and torch.equal(blank | (out[:, 0] == 1), torch.ones(300, 8, 8).bool())
    assert set(blank.sum(dim=(1, 2)).tolist()) == {4, 6, 8, 9, 12, 16} and blank.any(dim=0).all()


def test_cutmix():
    """A rectangle of each image is another's, who has that share of the loss; sides and places vary."""
    images, generator = torch.arange(8.0)[:, None, None, None].repeat(1, 2, 6, 6), torch.Generator().manual_seed(0)
    before, areas, seen = images.clone(), set(), torch.zeros(6, 6, dtype=torch.bool)
    for _ in range(200):
        mixed, ((own, labels), (theirs, others)) = mix(images, torch.arange(8), generator, 1.0)
        inside = (mixed[:, 0] == others[:, None, None]) & (others != labels)[:, None, None]
        assert torch.equal(mixed[:, 0], mixed[:, 1]) and (inside | (mixed[:, 0] == labels[:, None, None])).all()
        assert sorted(others.tolist()) == labels.tolist() == list(range(8)) and own == 1 - theirs
        moved = inside[others != labels]
        assert (moved == moved[:1]).all() and (not len(moved) or int(moved[0].sum()) == round(36 * theirs))
        areas.add(round(36 * theirs))
        seen |= moved.any(dim=0)
    assert len(areas) > 8 and seen.all() and torch.equal(images, before)


def test_cutmix_in_a_share_of_steps():
    images, generator = torch.zeros(4, 1, 4, 4), torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert mix(images, torch.arange(4), generator, 0.0).images is images and torch.equal(before, generator.get_state())
    mixed = sum(len(mix(images, torch.arange(4), generator, 0.3).targets) == 2 for _ in range(1000))
    assert 250 < mixed < 350


def test_training_learns_what_is_mixed(monkeypatch):
    """Images and labels of `mix`, each label by its share, in the share of steps that the settings ask for."""
    asked = []

    def shifted(images, labels, generator, share):
        asked.append(share)
        return training.Mixed(images, [(0.0, labels), (1.0, (labels + 1) % 4)])

    monkeypatch.setattr(training, "mix", shifted)
    splits = DatasetSplits(name="digits", num_classes=4, train=toy(64), val=toy(16, 1), test=toy(16, 2))
    module = build_network(MACRO.fitted((1, 8, 8), 4), ["k3_e1"] * 6, 0)
    train_network(module, splits, 6, 0, settings=TrainSettings(batch=16, cutmix=0.7))
    assert asked == [0.7] * 24 and evaluate(module, splits.test.images, (splits.test.labels + 1) % 4) == 1.0


def test_training_learns_from_a_teacher_more_than_from_labels():
    """The teacher learnt other labels; the images are those that the network sees, and it is left as it was."""
    splits = DatasetSplits(name="digits", num_classes=4, train=toy(64), val=toy(16, 1), test=toy(16, 2))
    images, labels = splits.test
    other = dataclasses.replace(splits, train=Subset(splits.train.images, (splits.train.labels + 1) % 4))
    teacher, module = (build_network(MACRO.fitted((1, 8, 8), 4), ["k3_e1"] * 6, seed) for seed in (0, 1))
    train_network(teacher, other, 6, 0, settings=TrainSettings(batch=16))
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    train_network(module, splits, 8, 0, settings=TrainSettings(batch=16), teacher=teacher)
    assert evaluate(teacher, images, (labels + 1) % 4) == evaluate(module, images, (labels + 1) % 4) == 1.0
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())


def test_answers_are_unlike_by_their_softened_divergence():
    own, theirs = torch.tensor([[1.0, 2.0, 0.0], [3.0, -1.0, 0.5]]), torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 4.0]])
    p, q = (torch.softmax(x / SOFTENED, dim=1) for x in (theirs, own))
    assert float(unlike(own, theirs)) == pytest.approx(SOFTENED**2 * float((p * (p / q).log()).sum()) / 2, rel=1e-4)
    assert float(unlike(own, own + 7)) == pytest.approx(0, abs=1e-5)


def test_batches_of_one_size():
    """As a captured graph wants them."""
    parts = batches(33, 16, torch.Generator().manual_seed(0), whole=True)
    assert [len(p) for p in parts] == [16, 16] and len(set(torch.cat(parts).tolist())) == 32


def test_training_with_validation_images():
    splits = DatasetSplits(name="digits", num_classes=4, train=toy(64), val=toy(16, 1), test=toy(16, 2))
    joined = splits.with_val_in_train()
    assert torch.equal(joined.train.images, torch.cat([splits.train.images, splits.val.images]))
    assert len(joined.train.labels) == 80 and joined.test is splits.test

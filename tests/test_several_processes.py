"""Several processes, as `torchrun` starts them, that train one network."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from dna_asic import nasaic, pareto, search
from dna_asic.cosearch.compute import Compute
from dna_asic.cosearch.dns import DnsSettings, NetworkSearch
from dna_asic.cosearch.training import TrainSettings, train_network
from dna_asic.data import DatasetSplits, Subset
from dna_asic.networks import expand, load_macro, make_module
from dna_asic.runs import MARKER

SHORT = ("--warmup-epochs", "1", "--epochs", "2", "--train-epochs", "2", "--das-steps", "1", "--set", "chunks=1",
         "--name", "two", "--quiet")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
            "dna_asic.search")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def learn_together(rank, folder, port):
    """One of two processes: a step of weights and alpha on its share, the mean gradient of a layer, what it is told."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    compute, (images, labels) = Compute.named("auto", "digits"), batch()
    with compute.joined():
        share = compute.share(torch.arange(len(labels)))
        search = NetworkSearch(load_macro("digits"), DnsSettings(epochs=2), 0, compute)
        search.train_weights_step((images[share], labels[share]))
        search.arch_step((images[share], labels[share]), None, 0.0)
        layer = simple_layer()
        loss(layer, images[share], labels[share]).backward()
        compute.average(layer.parameters())
        trained = train_network(make_module(expand(load_macro("digits"), ["c3"] * 6), 0), splits(images, labels), 1, 0,
                                settings=TrainSettings(batch=8), compute=compute)
        learnt = [p.detach() for p in (*search.supernet.parameters(), *trained.parameters())]
        torch.save({"weights": learnt, "gradient": layer.weight.grad, "told": compute.told(f"from {rank}"),
                    "share": share}, f"{folder}/{rank}.pt")


def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(16, 1, 8, 8, generator=generator), torch.randint(10, (16,), generator=generator)


def splits(*part):
    return DatasetSplits(name="digits", num_classes=10, **dict.fromkeys(("train", "val", "test"), Subset(*part)))


def simple_layer():
    torch.manual_seed(3)
    return nn.Linear(64, 10)


def loss(layer, images, labels):
    return nn.functional.cross_entropy(layer(images.flatten(1)), labels)


def test_two_processes_learn_alike_from_all_images(tmp_path):
    torch.multiprocessing.spawn(learn_together, (str(tmp_path), free_port()), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one["weights"], two["weights"], strict=True))
    fresh = NetworkSearch(load_macro("digits"), DnsSettings(epochs=2), 0).supernet
    assert not torch.equal(one["weights"][0], fresh.alpha) and one["told"] == two["told"] == "from 0"
    assert sorted([*one["share"].tolist(), *two["share"].tolist()]) == list(range(16))
    layer = simple_layer()
    loss(layer, *batch()).backward()
    torch.testing.assert_close(one["gradient"], layer.weight.grad)


def test_search_by_two_processes_goes_on_after_a_stop(tmp_path):
    """Stopped after its first checkpoint and gone on with by two processes: one whole run."""
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*TORCHRUN, *SHORT], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 180
    while not (tmp_path / "runs/two/checkpoint.pt").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()  # torchrun stops its processes
    process.wait()
    assert (tmp_path / "runs/two" / MARKER).exists()
    done = subprocess.run([*TORCHRUN, "--resume", "runs/two", "--quiet"], cwd=tmp_path, env=environment,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("search: run=") == 1 and not (tmp_path / "runs/two" / MARKER).exists()
    summary = json.loads((tmp_path / "runs/two/summary.json").read_text())
    assert summary["int8_test_accuracy"] > 0.2 and len(list((tmp_path / "runs").glob("two*"))) == 1


def test_batch_that_processes_cannot_share(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setattr(Compute, "joined", lambda self: contextlib.nullcontext())
    monkeypatch.setattr(Compute, "told", lambda self, value=None: value)
    assert search.main([*SHORT]) == 2
    assert "--batch must be a multiple of the 3 processes" in capsys.readouterr().err


@pytest.mark.parametrize(("main", "arguments"), [
    (pareto.main, ()), (nasaic.main, ("--flow", "nasaic")), (search.main, ("--network", "model.onnx"))])
def test_what_one_process_does(main, arguments, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*arguments]) == 2 and "start it without torchrun" in capsys.readouterr().err

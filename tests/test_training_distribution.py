"""Training on several devices: with the same batches, what one device gives."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from distributed_runs import STEPS, write_small_bert

from bert_tf.errors import BertError
from bert_tf.training import distribution
from bert_tf.training.distribution import Distribution, connect, distribute

HERE = os.path.dirname(__file__)
SCRIPT = os.path.join(HERE, "distributed_runs.py")
HAS_JAX = importlib.util.find_spec("jax") is not None
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}


def start(folder, what, environment):
    """Runs the script in a process of its own."""
    return subprocess.Popen(
        [sys.executable, SCRIPT, str(folder), what],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def ended(process):
    """What the script printed at its end."""
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def on_both(fresh_env, tmp_path_factory):
    """What came out on each backend; they run at the same time."""
    found = {}
    for backend in ("tensorflow", "jax"):
        if backend == "tensorflow" or HAS_JAX:
            environment = {**fresh_env, **TWO_DEVICES, "KERAS_BACKEND": backend}
            found[backend] = start(tmp_path_factory.mktemp(backend), backend, environment)
    try:
        yield {backend: ended(process) for backend, process in found.items()}
    finally:
        for process in found.values():
            process.kill()
            process.communicate()


@pytest.fixture(params=["tensorflow", "jax"])
def found(request, on_both):
    """What came out on one backend."""
    if request.param not in on_both:
        pytest.skip("JAX is not installed")
    return on_both[request.param]


def close(ours, theirs, tolerance=1e-5):
    assert len(ours) == len(theirs) > 0
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def test_pretraining_on_two_devices_is_that_on_one(found):
    """20 losses, and that of the evaluation after them."""
    assert found["devices"] == 2
    assert len(found["pretrained by one"]) == STEPS + 1
    assert found["pretrained by one"][0] - found["pretrained by one"][STEPS] > 0.01
    close(found["pretrained by two"], found["pretrained by one"])


def test_fine_tuning_on_two_devices_is_that_on_one_and_goes_on_there(found):
    """Two devices take 20 steps until a signal comes, one goes on from their checkpoint for 5.

    Some batches have rows that only fill up.
    """
    one, two, rest = found["by one"], found["by two"], found["continued by one"]
    assert (two["step"], two["interrupted"]) == (STEPS, True)
    assert (rest["resumed"], rest["step"], rest["interrupted"]) == ([STEPS], 25, False)
    assert abs(one["losses"][0] - one["losses"][-1]) > 0.01
    close(two["losses"] + rest["losses"], one["losses"])
    # The evaluation of step 20 was due when the signal came, and is made up for.
    close(two["judged"] + rest["judged"], one["judged"])
    close(rest["weights"], one["weights"], 1e-4)


def test_dropout_and_parts_on_two_devices_are_those_on_one(found):
    """Each replica drops what one device drops in its rows; weights of classes count in all."""
    one, two = found["dropped by one"], found["dropped by two"]
    close(two["losses"], one["losses"])
    close(two["weights"], one["weights"], 1e-4)


def test_what_cannot_be_divided_is_refused(found):
    refused = found["refused"]
    assert refused["rows"] == (
        "a batch of 9 rows cannot be divided equally among 2 devices; choose a batch size that 2 "
        "divides, such as 8 or 10."
    )
    assert "6 rows cannot be divided equally among 2 devices in 2 parts" in refused["parts"]
    assert "a batch of 3 rows" in refused["examples"]
    assert refused["kind"] == "distribute is 'model'; it must be one of none, data."


def test_what_does_not_work_on_tensorflow_is_refused(on_both):
    refused = on_both["tensorflow"]["refused"]
    assert "does nothing on tensorflow; several hosts need JAX" in refused["hosts"]
    assert "TF_CONFIG names 2 workers" in refused["workers"]
    assert "`KERAS_BACKEND=jax`" in refused["workers"]
    assert refused["one worker"] == "nothing was refused"
    assert "in the scope of a tf.distribute strategy" in refused["scope"]
    assert "keras.distribution is set, but does nothing" in refused["keras.distribution"]


@pytest.mark.skipif(not HAS_JAX, reason="JAX is not installed")
def test_half_an_address_is_refused(on_both):
    refused = on_both["jax"]["refused"]["hosts"]
    assert refused.startswith("KERAS_DISTRIBUTION_JOB_ADDRESSES, KERAS_DISTRIBUTION_PROCESS_ID is")


@pytest.mark.slow
@pytest.mark.skipif(not HAS_JAX, reason="JAX is not installed")
def test_two_processes_train_as_one_does(fresh_env, tmp_path, on_both):
    """Each has one device. The first gets a signal, both stop; started again, both go on."""
    write_small_bert(tmp_path / "bert")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hosts = {
        "KERAS_BACKEND": "jax",
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
    }
    processes = [
        start(tmp_path, "hosts", {**fresh_env, **hosts, "KERAS_DISTRIBUTION_PROCESS_ID": str(i)})
        for i in range(2)
    ]
    try:
        # Both are read at once: neither ends before the other has printed all.
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(ended, processes)
    finally:
        for process in processes:
            process.kill()
    assert (first["leads"], second["leads"]) == (True, False)
    for one in (first, second):
        assert one["stopped"]["interrupted"]
        assert (one["continued"]["step"], one["continued"]["interrupted"]) == (25, False)
    assert first["stopped"]["step"] == second["stopped"]["step"] < 25
    assert first["continued"]["resumed"] == [first["stopped"]["step"]]
    alone = on_both["jax"]["by one"]
    close(first["stopped"]["losses"] + first["continued"]["losses"], alone["losses"])
    close(first["continued"]["weights"], alone["weights"], 1e-4)
    # Rows are reported, and files written, by one process.
    assert second["stopped"]["losses"] == second["continued"]["losses"] == []
    assert second["continued"]["weights"] == first["continued"]["weights"]


def test_one_device_is_told_and_changes_nothing():
    """This process has one device, on whatever backend."""
    one = distribute("data")
    assert type(one) is Distribution
    assert one.count == 1
    assert one.leads
    assert "only one device" in one.warning
    assert distribute("none").warning is None
    one.check(7, 1)
    with one.scope(), one.together():
        assert one.any(True)
        assert not one.any(False)
        assert one.same(3)


@pytest.mark.parametrize("text", ["[1]", "{", '{"cluster": 3}'])
def test_a_cluster_that_is_none(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(BertError, match="TF_CONFIG is no description of a cluster"):
        distribution._refuse_on_tensorflow()


def test_openvino_cannot_train(monkeypatch):
    keras = types.SimpleNamespace(backend=types.SimpleNamespace(backend=lambda: "openvino"))
    monkeypatch.setitem(sys.modules, "keras", keras)
    with pytest.raises(BertError, match="openvino, which cannot train"):
        distribute("data")


@pytest.mark.parametrize(("number", "own"), [("2", "2"), ("two", "0"), ("0", "0"), ("2", "-1")])
def test_processes_that_cannot_be(number, own, monkeypatch):
    keras = types.SimpleNamespace(backend=types.SimpleNamespace(backend=lambda: "jax"))
    monkeypatch.setitem(sys.modules, "keras", keras)
    monkeypatch.setenv("KERAS_DISTRIBUTION_JOB_ADDRESSES", "127.0.0.1:1")
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", number)
    monkeypatch.setenv("KERAS_DISTRIBUTION_PROCESS_ID", own)
    with pytest.raises(BertError, match="from 0"):
        connect()

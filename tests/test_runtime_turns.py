"""Threads on what takes one call at a time: short calls of one length share a batch."""

import threading
import time

import numpy as np

from bert_tf.runtime.predictor import in_turns


def arrays(*ids):
    return [np.array([list(ids)]), np.zeros((1, len(ids)), int)]


def call_while_busy(run, calls):
    """Calls from one thread each while another call has the turn; the outputs in their order."""
    answers, busy, free = {}, threading.Event(), threading.Event()

    def first(inputs):
        if not busy.is_set():
            busy.set()
            free.wait(10)
        return run(inputs)

    shared = in_turns(first)

    def ask(number, inputs):
        try:
            answers[number] = [output.tolist() for output in shared(inputs)]
        except ValueError as error:
            answers[number] = str(error)

    threads = [threading.Thread(target=ask, args=(-1, arrays(0)))]
    threads[0].start()
    busy.wait(10)
    for number, inputs in enumerate(calls):
        threads.append(threading.Thread(target=ask, args=(number, inputs)))
        threads[-1].start()
    time.sleep(0.1)  # all are waiting now
    free.set()
    for thread in threads:
        thread.join(10)
    return [answers[number] for number in range(len(calls))]


def test_waiting_calls_of_one_length_share_a_batch():
    sizes = []

    def run(inputs):
        sizes.append(inputs[0].shape)
        return [inputs[0] * 10, inputs[0].sum(axis=1)]

    calls = [arrays(1, 2), arrays(3, 4), arrays(5, 6, 7), arrays(8, 9)]
    answers = call_while_busy(run, calls)
    assert answers == [
        [[[10, 20]], [3]],
        [[[30, 40]], [7]],
        [[[50, 60, 70]], [18]],
        [[[80, 90]], [17]],
    ]
    assert sorted(sizes) == [(1, 1), (1, 3), (3, 2)]


def test_a_long_call_runs_alone():
    """200 tokens twice are above the 256 up to which calls share a batch."""
    sizes = []
    call_while_busy(lambda x: sizes.append(x[0].shape) or x, [arrays(*range(200))] * 3)
    assert sizes == [(1, 1)] + [(1, 200)] * 3


def test_a_failure_is_not_kept():
    """A batch that fails is the error of the call that ran it; every other call gets an answer."""
    calls, failed = [arrays(1, 2), arrays(3, 4), arrays(5, 6)], []

    def run(inputs):
        if not failed and len(inputs[0]) == 3:
            failed.append(True)
            raise ValueError("no memory")
        return inputs

    answers = call_while_busy(run, calls)
    assert answers.count("no memory") == 1
    assert [a for a in answers if a != "no memory"] == [
        [x.tolist() for x in call]
        for call, answer in zip(calls, answers, strict=True)
        if answer != "no memory"
    ]

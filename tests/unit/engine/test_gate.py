import threading
import time

from serve_app.engine.gate import CoreGate


def test_threads_in_use_never_exceed_the_cores_and_two_wide_engines_do_not_deadlock(tmp_path):
    in_use, peak, lock = 0, 0, threading.Lock()

    def engine(threads):
        nonlocal in_use, peak
        gate = CoreGate(3, tmp_path)
        for _ in range(15):
            with gate.hold(threads):
                with lock:
                    in_use += threads
                    peak = max(peak, in_use)
                time.sleep(0.001)
                with lock:
                    in_use -= threads
        gate.close()

    workers = [threading.Thread(target=engine, args=(threads,)) for threads in (2, 2, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=10)
    assert not any(worker.is_alive() for worker in workers)
    assert 2 <= peak <= 3


def test_engine_wider_than_the_machine_takes_all_there_is(tmp_path):
    gate = CoreGate(1, tmp_path)
    with gate.hold(8):
        pass
    with gate.hold(8):
        pass
    gate.close()


def test_cores_of_a_holder_that_fails_are_given_back(tmp_path):
    first, second = CoreGate(1, tmp_path), CoreGate(1, tmp_path)
    try:
        with first.hold(1):
            raise RuntimeError
    except RuntimeError:
        pass
    with second.hold(1):
        pass
    first.close()
    second.close()

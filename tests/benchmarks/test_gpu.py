"""The measurements of a GPU, tried on a CPU: every part is made once, and none stops another."""

import json
import time

import pytest
import torch

import gpu
from labelnoise.study import read_study
from workflow_runs import ROOT


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    bench = gpu.Bench(tmp_path_factory.mktemp("gpu"), "cpu", 600, quick=True)
    bench.run()
    bench.close()
    yield bench
    torch.set_num_threads(threads)


def read(bench, name):
    return json.loads((bench.folder / f"{name}.json").read_text())


def test_every_part_leaves_a_file_that_the_next_call_keeps(bench, monkeypatch):
    names = {path.stem for path in bench.folder.glob("*.json")}
    assert names == {*bench.parts()}
    # Here both devices are the CPU.
    parity = read(bench, "parity")
    assert parity["cpu"] == parity["gpu"] == parity["gpu without TF32"]
    assert len({*parity["cpu"]["losses"]}) == 3
    assert read(bench, "steps-32")["fit"] > 0
    assert len(read(bench, "processes-32-1")["rates"]) == 1
    monkeypatch.setattr(gpu.Bench, "parity", lambda self: pytest.fail("it is done"))
    bench.run()


def test_a_part_that_fails_is_tried_again_and_stops_no_other(bench, monkeypatch, capsys):
    for name in ("parity", "memory-unet-32"):
        (bench.folder / f"{name}.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(gpu.Bench, "parity", lambda self: 1 / 0)
        bench.run()
    assert "parity: ZeroDivisionError" in capsys.readouterr().err
    assert not (bench.folder / "parity.json").exists()
    assert (bench.folder / "memory-unet-32.json").exists()
    bench.run()
    assert (bench.folder / "parity.json").exists()


def test_after_a_process_has_died_others_take_its_place(bench):
    bench.processes(32, 1)
    bench._workers[0].kill()
    with pytest.raises((OSError, ValueError)):
        bench.processes(32, 1)
    assert bench.processes(32, 1)["rates"][0] > 0
    bench.close()


def test_trainings_stop_with_the_time_and_go_on_in_the_studys_own_results(bench, monkeypatch):
    study = gpu.quick_study(read_study(ROOT / "config.yaml", gpu.PAPER), bench.folder)
    folder = study.results.run_folder(study.runs[0])
    train = gpu.train_run

    monkeypatch.setattr(gpu, "train_run", lambda *_: wait_for_the_end())
    monkeypatch.setattr(bench, "left", lambda: 0.05)
    gpu.train_paper(bench, study)
    assert not folder.record.exists()
    monkeypatch.setattr(gpu, "train_run", train)
    monkeypatch.setattr(bench, "left", lambda: 600)
    gpu.train_paper(bench, study)
    assert json.loads(folder.record.read_text())["recipe"] == "plain"


def wait_for_the_end():
    while True:
        time.sleep(0.01)


def test_rows_compare_with_what_was_measured_beside(bench, capsys):
    names = [row.name for row in gpu.rows_of(bench, "")]
    assert "steps of fit, against a bare loop, deterministic, 32 px" in names
    # Parity has six rows, steps have three.
    assert len(names) == len(bench.parts()) + 5 + 2

"""Configuration files: what is not YAML, or given twice, is named by file and line."""

import json
import subprocess
import sys

import pytest

from labelnoise.config import check_files, load_config
from labelnoise.errors import InputError
from workflow_runs import ROOT, command

CONFIG = ROOT / "config.yaml"


def refusal(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as raised:
        check_files([CONFIG, path])
    message = str(raised.value)
    assert message.startswith((str(path), "the config file")) and "\n" not in message
    with pytest.raises(InputError) as loading:
        load_config(CONFIG, path)
    assert str(loading.value) == message
    return message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("seed: 1\nmatrix: {}\nmatrix: {}\n", ["'matrix' twice", "lines 2 and 3"]),
        ("recipes:\n  a: {}\n  b: {}\n  'a': {}\n", ["'recipes.a' twice", "lines 2 and 4"]),
        ("recipes: {a: {keep: 1, keep: 1}}", ["'recipes.a.keep' twice", "line 1;"]),
        ("a: [1, {b: 1,\nb: 1}]", ["'a.1.b' twice", "lines 1 and 2"]),
        ('{"seed": 1,\n\t"seed": 2}', ["'seed' twice", "lines 1 and 2"]),
        ("a: &a {b: 1, b: 2}\nc: *a\n", ["'a.b' twice", "line 1;"]),
        ("seed: 1\nmatrix: [unet\nrepeats: 3\n", ["not YAML in line 3", "starts in line 2"]),
        ("seed: 1\nmatrix:\n\trepeats: 3\n", ["not YAML in line 3", r"'\t'"]),
        ("seed: 1\nmatrix: *nothing\n", ["not YAML in line 2", "undefined alias"]),
        ("seed: 1\n---\nseed: 2\n", ["not YAML in line 2", "document"]),
        ("seed: 1\nmatrix: !python x\n", ["not YAML in line 2", "!python"]),
        ("seed: 1\na: 2018-13-45\n", ["not YAML in line 2", "month"]),
        ("seed: " + "9" * 5000, ["not YAML in line 1", "digits"]),
        ("seed: 1\na: \0\n", ["not YAML in line 2", "not allowed"]),
        (b"seed: 1\na: \xe9\n", ["not text in UTF-8"]),
        ("a: " + "[" * 5000, ["not YAML in line 1", "too deeply"]),
        ("\n".join(" " * depth + "a:" for depth in range(900)), ["too deeply"]),
        ("#" * 600_000, ["larger than 500000 bytes"]),
        ("# nothing\n", ["is empty"]),
        ("- seed\n", ["no keys"]),
        ("seed", ["no keys"]),
    ],
)
def test_a_file_that_cannot_be_taken_at_its_word_is_refused(tmp_path, text, parts):
    message = refusal(tmp_path / "study.yaml", text)
    assert all(part in message for part in parts), message


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            load_config(path)


def test_anchors_and_merges_are_no_twins(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(
        "recipes:\n"
        "  base: &base {loss: dice, epochs: 7}\n"
        "  same: *base\n"
        "  longer: {<<: *base, epochs: 9}\n"
        "  both: {<<: *base, <<: {keep: 2}}\n"
    )
    recipes = load_config(CONFIG, path)["recipes"]
    assert recipes["same"] == recipes["base"] and recipes["base"]["epochs"] == 7
    assert (recipes["longer"]["epochs"], recipes["longer"]["loss"]) == (9, "dice")
    assert (recipes["both"]["epochs"], recipes["both"]["keep"]) == (7, 2)


def test_json_reads_as_json(tmp_path):
    path = tmp_path / "study.json"
    path.write_text(json.dumps({"recipes": {"plain": {"learning_rate": 1e-05}}}, indent="\t"))
    assert load_config(CONFIG, path)["recipes"]["plain"]["learning_rate"] == 1e-5


def test_snakemake_refuses_a_key_that_is_given_twice(tmp_path):
    arguments = command(tmp_path, {}, "--dry-run")
    overlay = tmp_path / "study.yaml"
    overlay.write_text("recipes:\n  short: {loss: dice}\n  short: {loss: dice}\n")
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert (
        f"{overlay} gives config key 'recipes.short' twice, in lines 2 and 3"
        in done.stdout + done.stderr
    )
    assert "Traceback" not in done.stdout + done.stderr


def test_snakemake_names_the_line_where_the_config_is_not_yaml(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 1\nmatrix: [unet\nrepeats: 3\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1"),
            *("--snakefile", ROOT / "Snakefile", "--directory", tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "config.yaml is not YAML in line 3" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr

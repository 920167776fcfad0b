"""The ledger: whole records or none, whatever happens to the program or the file."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pytest

from stanrovi.errors import OutputError
from stanrovi.io.ledger import Ledger, kept_as, n_done


def records(path):
    with Ledger(path) as ledger:
        return ledger.records


def test_records_are_read_back(tmp_path):
    path = tmp_path / "runs.jsonl"
    with Ledger(path) as ledger:
        assert ledger.records == {}
        ledger.append("a", {"value": [1, 2.5, None, "ü"]})
        ledger.append("b", {"value": {}})
        ledger.append("a", {"value": "later"})
    assert records(path) == {"a": {"value": "later"}, "b": {"value": {}}}
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["a", "b", "a"]


def test_a_backup_by_hard_links_stays_as_it_is(tmp_path):
    path, backup = tmp_path / "runs.jsonl", tmp_path / "backup.jsonl"
    with Ledger(path) as ledger:
        ledger.append("a", {})
    os.link(path, backup)
    with Ledger(path) as ledger:
        ledger.append("b", {})
    assert records(path).keys() == {"a", "b"}
    assert records(backup).keys() == {"a"}


@pytest.mark.parametrize("torn", ['{"key":"b","va', "{", '{"ke'])
def test_a_torn_last_line_is_cut_off(tmp_path, torn):
    path = tmp_path / "runs.jsonl"
    whole = '{"key":"a","value":1}\n'
    path.write_text(whole + torn)
    with Ledger(path) as ledger:
        assert ledger.records == {"a": {"value": 1}}
        ledger.append("c", {"value": 2})
    assert records(path) == {"a": {"value": 1}, "c": {"value": 2}}


def test_a_last_line_that_is_whole_but_for_its_end_counts(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"key":"a","value":1}\n{"key":"b","value":2}')
    with Ledger(path) as ledger:
        assert list(ledger.records) == ["a", "b"]
        ledger.append("c", {"value": 3})
    assert list(records(path)) == ["a", "b", "c"]


@pytest.mark.parametrize("torn", ["{", '{"key":"b","va'])
def test_the_first_line_may_be_torn(tmp_path, torn):
    path = tmp_path / "runs.jsonl"
    path.write_text(torn)
    assert records(path) == {}
    assert path.read_text() == ""


def test_lines_that_are_no_records_are_passed_over_and_stay(tmp_path, caplog):
    path = tmp_path / "runs.jsonl"
    path.write_text(
        '{"key":"a","value":1}\nnonsense\n[1]\n{"key":2}\n\xff\n{"key":"b","value":2}\n'
    )
    with caplog.at_level(logging.WARNING):
        assert list(records(path)) == ["a", "b"]
    assert "line 2, 3, 4, 5" in caplog.text
    assert n_done(path) == 2
    assert len(caplog.messages) == 1
    assert "nonsense" in path.read_text()


@pytest.mark.parametrize("content", ["theta,tau\n1,2\n", "hello", '{"runs":[]}\n', "\x00\x01\n"])
def test_a_file_of_something_else_is_left_alone(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(OutputError, match="holds no records of runs"):
        Ledger(path)
    assert path.read_text() == content


def test_one_writer_at_a_time(tmp_path):
    path = tmp_path / "runs.jsonl"
    with Ledger(path), pytest.raises(OutputError, match="being written by another run"):
        Ledger(path)
    assert records(path) == {}
    assert os.listdir(tmp_path) == ["runs.jsonl"]


def test_places_that_hold_no_ledger(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        Ledger(tmp_path / "nowhere" / "runs.jsonl")
    with pytest.raises(OutputError, match="no regular file"):
        Ledger(tmp_path)


def test_what_is_no_json_is_refused_and_leaves_nothing(tmp_path):
    path = tmp_path / "runs.jsonl"
    with Ledger(path) as ledger:
        with pytest.raises(ValueError, match="JSON compliant"):
            ledger.append("a", {"value": float("nan")})
        ledger.append("b", {"value": 1})
    assert list(records(path)) == ["b"]


def test_threads_take_turns(tmp_path):
    path = tmp_path / "runs.jsonl"

    def fill(name):
        for i in range(20):
            ledger.append(f"{name}{i}", {"value": "x" * 5000})

    with Ledger(path) as ledger:
        threads = [threading.Thread(target=fill, args=[name]) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(records(path)) == 80


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_leaves_whole_records(tmp_path, monkeypatch):
    path = tmp_path / "runs.jsonl"
    with Ledger(path) as ledger:
        ledger.append("a", {"value": 1})
        write = os.write
        monkeypatch.setattr(os, "write", lambda file, text: write(file, text[:7]))
        with pytest.raises(OutputError, match="no space left"):
            ledger.append("b", {"value": 2})
        monkeypatch.undo()
        ledger.append("c", {"value": 3})
    assert records(path) == {"a": {"value": 1}, "c": {"value": 3}}


def test_a_killed_writer_loses_no_record_that_it_told_of(tmp_path):
    path = tmp_path / "runs.jsonl"
    code = f"""
from stanrovi.io.ledger import Ledger, kept_as, n_done
ledger = Ledger({str(path)!r})
i = 0
while True:
    ledger.append(str(i), {{"value": "x" * 1000}})
    print(i, flush=True)
    i += 1
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.2)
        writer.send_signal(signal.SIGKILL)
        told = [0, *map(int, writer.stdout.read().split())]
    found = records(path)
    assert set(map(str, told)) <= found.keys()
    assert len(found) <= len(told) + 1


@dataclass
class Kept:
    count: int
    share: float | None
    names: Mapping[str, int]
    word: Literal["a", "b"]
    sure: bool
    rows: list[int]


SOUND = {"count": 1, "share": 1, "names": {"x": 2}, "word": "a", "sure": True, "rows": [1]}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"count": 1.5}, "count is 1.5"),
        ({"count": True}, "count is True"),
        ({"share": "1"}, "share is '1'"),
        ({"share": math.nan}, "share is nan"),
        ({"share": 10**400}, "share is a int"),
        ({"names": {"x": "2"}}, "names is"),
        ({"names": [2]}, "names is"),
        ({"word": "c"}, "word is 'c'"),
        ({"sure": 1}, "sure is 1"),
        ({"rows": ["1"]}, "rows is"),
        ({"more": 1}, "unexpected keyword"),
        ({"count": 5}, "it holds {'count': 5"),
    ],
)
def test_records_of_another_kind_are_none(changes, told):
    def small(kept):
        return kept.count < 5

    assert kept_as(Kept, SOUND | {"share": None}, small).share is None
    with pytest.raises(OutputError, match=f"{told}.*remove its line"):
        kept_as(Kept, SOUND | changes, small)

"""The history that the crash loops check is itself right: on a plain directory it holds at every step."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from crash.history import Operation, check, operations, state_after


def test_a_plain_directory_is_in_the_expected_state_after_every_operation(tmp_path: Path) -> None:
    for number, (_, operation) in enumerate(islice(operations(11), 60)):
        check(tmp_path, 11, number)
        operation.carry_out(tmp_path)
        check(tmp_path, 11, number)  # as if it had been done but not yet acknowledged
    check(tmp_path, 11, 60)


@pytest.mark.parametrize("fault", ["gone", "short", "zeroes", "extra"])
def test_a_loss_is_noticed(tmp_path: Path, fault: str) -> None:
    for _, operation in islice(operations(11), 60):
        operation.carry_out(tmp_path)
    state, under_way = state_after(11, 60)
    victim = tmp_path / min(name for name in state.keys() - under_way.touched() if len(state[name]) > 100)
    data = victim.read_bytes()
    if fault == "gone":
        victim.unlink()
    elif fault == "short":
        victim.write_bytes(data[:-1])
    elif fault == "zeroes":
        victim.write_bytes(data[:50] + bytes(len(data) - 50))
    else:
        (tmp_path / "stranger").touch()
    with pytest.raises(AssertionError):
        check(tmp_path, 11, 60)


def test_a_file_under_way_may_hold_old_and_new_bytes_but_no_others() -> None:
    operation = Operation("overwrite", "file", data=b"NEW", offset=2)
    assert operation.may_leave(b"oldold", b"olNlWd") is False
    assert operation.may_leave(b"oldold", b"olNoWd")
    assert operation.may_leave(b"oldold", b"oldold")
    assert not operation.may_leave(b"oldold", b"old")
    assert not operation.may_leave(b"oldold", None)

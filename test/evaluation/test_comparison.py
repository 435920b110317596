import math
from pathlib import Path

import pytest

from us_recon.errors import InputError
from us_recon.evaluation.comparison import compare, number_of, parse_table, read_tables

BEFORE = "method,probe,mm,share,note\nA,convex,2.0,50%,x\nA,linear,1.0,-,x\nB,convex,3.0,90%,y\n"
AFTER = "method,probe,mm,share,MiB\nA,convex,1.5,50%,7\nA,linear,1.0,80%,8\nC,convex,3.0,90%,9\n"


def test_figures_that_moved_are_listed_by_size() -> None:
    found = compare({"t": parse_table(BEFORE, "b")}, {"t": parse_table(AFTER, "a")})
    told = [(c.row, c.column, c.before, c.after, c.relative) for c in found.changes]
    # 80 % where nothing had been measured comes first; 2.0 to 1.5 is a quarter less.
    assert told == [
        ("A, linear", "share", "-", "80%", math.inf),
        ("A, convex", "mm", "2.0", "1.5", -0.25),
    ]
    assert found.same == 2  # A's 50 % and A's 1.0
    assert found.only_before == ("t: B, convex", "t: column note")
    assert found.only_after == ("t: C, convex", "t: column MiB")


def test_tables_that_one_run_lacks_are_named() -> None:
    table = parse_table(BEFORE, "b")
    found = compare({"one": table, "two": table}, {"two": table, "three": table})
    assert found.changes == () and found.same == 9
    assert (found.only_before, found.only_after) == (("one",), ("three",))


def test_rows_of_one_name_are_matched_in_their_order() -> None:
    twice = parse_table("method,mm\nA,1\nA,2\n", "t")
    moved = parse_table("method,mm\nA,1\nA,3\n", "t")
    (change,) = compare({"t": twice}, {"t": moved}).changes
    assert change.row == "A (2)" and change.relative == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("cell", "number"),
    [("1.5", 1.5), ("85%", 85.0), ("inf", math.inf), ("-", None), ("nan", None), ("0 to 1", None)],
)
def test_numbers_in_cells(cell: str, number: float | None) -> None:
    assert number_of(cell) == number


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \.csv file"):
        read_tables(tmp_path)
    (tmp_path / "x.csv").write_text("a,b\n")
    with pytest.raises(InputError, match="holds no row"):
        read_tables(tmp_path)
    (tmp_path / "x.csv").write_text("a,b\n1\n")
    with pytest.raises(InputError, match="line 2: expected 2 cells"):
        read_tables(tmp_path / "x.csv")

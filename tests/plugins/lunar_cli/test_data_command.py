"""``lunar data``: list, show, download, stats."""

from __future__ import annotations

import json

from lunar_cli.main import main


def test_datasets_are_listed_and_a_misspelt_one_is_guessed(capsys):
    assert main(["data", "list", "d*"]) == 0
    assert "digits" in capsys.readouterr().out
    assert main(["data", "list", "digit"]) == 2
    assert "digits" in capsys.readouterr().err


def test_a_card_and_a_contact_sheet_are_shown(capsys, tmp_path):
    picture = tmp_path / "sheet.png"
    assert main(["data", "show", "digits", "--set", "scale=false", "--picture", str(picture), "--count", "4"]) == 0
    out = capsys.readouterr().out
    assert "1,797" in out and "CC-BY-4.0" in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["data", "show", "mnist", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["size"] == 60_000 and len(card["files"]) == 2 and card["classes"][0] == "0"


def test_statistics_and_class_counts_are_measured(capsys):
    assert main(["data", "stats", "digits"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("0\t0.3052") and lines[3] == "0\t0\t178"


def test_a_set_without_files_is_not_downloaded_and_offline_says_what_to_do(capsys, tmp_path, monkeypatch):
    assert main(["data", "download", "digits"]) == 2
    assert "nothing to download" in capsys.readouterr().err
    monkeypatch.setenv("LUNAR_OFFLINE", "1")
    monkeypatch.setenv("LUNAR_DATA", str(tmp_path))
    assert main(["data", "download", "iris"]) == 2
    assert str(tmp_path / "iris" / "iris.csv") in capsys.readouterr().err

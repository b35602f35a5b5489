"""The first start's secrets are made once and shown to nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.images.first_secrets import main, make


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    for path in make(tmp_path):
        assert path.stat().st_mode & 0o077 == 0
        assert path.read_text().strip() != ""


def test_later_starts_keep_them(tmp_path: Path) -> None:
    first = [path.read_text() for path in make(tmp_path)]

    assert [path.read_text() for path in make(tmp_path)] == first


def test_files_are_named_and_secrets_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main([str(tmp_path)])
    printed = capsys.readouterr().out

    assert status == 0
    assert printed.split() == [str(path) for path in make(tmp_path)]
    assert [path for path in make(tmp_path) if path.read_text().strip() in printed] == []


def test_without_a_folder_it_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "FOLDER" in capsys.readouterr().err

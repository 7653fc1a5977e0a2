"""The jars of Delta come whole, also into a folder where an earlier download left only some."""

from importlib.metadata import version
from pathlib import Path

import pytest

from pipelines.delta_jars import delta_jars


def test_a_folder_with_some_of_the_jars_is_completed(java: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NHS_OMOP_JARS", raising=False)
    spark, delta = ".".join(version("pyspark").split(".")[:2]), version("delta-spark")
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / f"io.delta_delta-spark_{spark}_2.13-{delta}.jar").touch()
    found = {path.name for path in delta_jars(tmp_path)}
    assert f"io.delta_delta-storage-{delta}.jar" in found
    assert all(path.stat().st_size > 0 for path in (tmp_path / "jars").iterdir())

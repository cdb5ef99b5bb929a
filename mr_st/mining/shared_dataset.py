"""A dataset that other processes load from the work folder, so that a stage does not carry it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mr_st.data.dataset import GradedDataset
from mr_st.encoding.shard_folder import ShardFolder
from mr_st.errors import MrStError

__all__ = ["SharedDataset"]


class SharedDataset:
    """A dataset that is pickled as the place where it lies: saved there the first time, loaded lazily elsewhere.

    Args:
        dataset: What is shared.
        folder: A folder that every process reaches, here or on any file system that fsspec knows.
    """

    def __init__(self, dataset: GradedDataset, folder: ShardFolder):
        self._dataset: GradedDataset | None = dataset
        self.folder = folder / f"dataset-{dataset.fingerprint}"
        self._is_saved = False

    def get(self) -> GradedDataset:
        """The dataset, loaded on the first call in a process that did not bring it.

        Raises:
            MrStError: the saved copy is gone or damaged.
        """
        if self._dataset is None:
            from mr_st.data.storage import load_folder

            if self.folder.is_local:
                self._dataset = load_folder(self.folder.url, validate=False)
            else:
                with tempfile.TemporaryDirectory() as here:
                    fs, place = self._opened()
                    fs.get(place.rstrip("/") + "/", str(Path(here) / "dataset") + "/", recursive=True)
                    self._dataset = load_folder(Path(here) / "dataset", validate=False)
        return self._dataset

    def save(self) -> None:
        """Write the dataset to its place, unless it lies there.

        Raises:
            MrStError: the place cannot be written.
        """
        fs, place = self._opened()
        if self._is_saved or fs.exists(f"{place}/dataset.yaml"):
            self._is_saved = True
            return
        dataset = self.get()
        if self.folder.is_local:
            dataset.save(place)
        else:
            with tempfile.TemporaryDirectory() as here:
                saved = dataset.save(Path(here) / "dataset")
                try:  # the settings last: they say that it is whole
                    for path in sorted(saved.iterdir(), key=lambda path: path.name == "dataset.yaml"):
                        fs.put_file(str(path), f"{place}/{path.name}")
                except OSError as error:
                    raise MrStError(f"{self.folder.url}: the dataset cannot be written there ({error})") from error
        self._is_saved = True

    def _opened(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        fs, place = url_to_fs(self.folder.url, use_listings_cache=False)
        return fs, place.rstrip("/")

    def __getstate__(self) -> dict[str, Any]:
        self.save()
        return {"_dataset": None, "folder": self.folder, "_is_saved": True}

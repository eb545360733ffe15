"""Results of experiments as they lie in a folder: one tidy table each, its description, and what may be taken over."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from scn_fastai.errors import RunError, SettingsError
from scn_fastai.experiments.paper_tables import Experiment
from scn_fastai.experiments.recipes import changed_since, recipe
from scn_fastai.files import replace_file, write_whole

FORMAT = 1
# The columns of a row that tell its training from another.
TRAINING = ("recipe", "seed", "noise", "noise_kind", "data", "limit", "arch", "image_size", "planned_epochs")
TRAINING += ("batch_size", "lr", "wd")


class Known(NamedTuple):
    """A training that went well: its row, and the settings behind its recipe's name then (None: not told)."""

    row: dict
    settings: dict | None

    def training(self) -> tuple:
        """See `training_of`."""
        return training_of(self.row)

    def means_the_same(self) -> bool:
        """Whether its recipe stands for the same settings today; of a row that does not tell them nobody knows."""
        return self.settings is not None and not changed_since(self.settings, self.row["recipe"])

    def summary(self) -> dict:
        """What it says of the training, and of what made it."""
        own = ("experiment", "size", "order", "line", "folder")
        return {n: v for n, v in self.row.items() if n not in own and not n.startswith("paper ")}


def training_of(row: dict) -> tuple:
    """What tells a row's training from another; an empty cell of a CSV (NaN) is the empty text that it was."""
    return tuple("" if pd.isna(row.get(name)) else row[name] for name in TRAINING)


def settings_id(settings: dict) -> str:
    """A short name for the settings behind a recipe: its rows bear it, the description has the settings once.

    >>> settings_id({"scn": {"rank": True}, "options": {}})
    '995b8d0a'
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def settings_of_run(folder: Path) -> dict:
    """The settings behind a run's recipe when it was made: of SCN, and the options of a method where it tells them."""
    stored = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    return {name: stored[name] for name in ("scn", "options") if name in stored}


def experiments_in(folder: str | Path) -> list[str]:
    """Names of the experiments whose description lies in a folder."""
    return sorted(path.stem for path in Path(folder).glob("*.json") if '"claims"' in path.read_text(encoding="utf-8"))


def read_results(folder: str | Path, name: str) -> tuple[pd.DataFrame, dict]:
    """Results and description of an experiment in a folder.

    Raises:
        RunError: there is none, it is half written, or a newer version made it.
    """
    about_file, results = Path(folder) / f"{name}.json", Path(folder) / f"{name}.csv"
    if not about_file.exists():
        raise RunError(f"There is no experiment {name} in {folder}: `scn experiment {name} --out {folder}` makes it.")
    try:
        about = json.loads(about_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{about_file} is damaged: run the experiment again, its trainings are kept.") from error
    if about.get("format", 0) > FORMAT:
        raise RunError(f"{about_file} was made by a newer version of scn_fastai: update it.")
    if not results.exists():
        raise RunError(f"{results} is missing: run the experiment again, its trainings are kept.")
    return _read_csv(results), about


def _read_csv(file: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(file)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise RunError(f"{file} is damaged: run the experiment again, its trainings are kept.") from error


def good_rows(folder: Path, name: str) -> list[Known]:
    """The trainings in an experiment's table that went well; none where there is no table that can be read."""
    try:
        return _known(*read_results(folder, name))
    except RunError:
        pass
    try:  # without its description nobody knows the settings, but there are figures to lose
        return _known(_read_csv(folder / f"{name}.csv"), {})
    except RunError:
        return []


def _known(table: pd.DataFrame, about: dict) -> list[Known]:
    table = table[table["error"].isna()].drop(columns="error") if "error" in table else table
    settings = about.get("settings", {})
    return [Known(row, settings.get(row.get("settings"))) for row in table.to_dict("records")]


def known_results(folder: str | Path, asked: Experiment) -> list[Known]:
    """The trainings in a folder's results that an experiment can take over.

    Where every detector is asked about every run, only its own rows will do, and of these such as have detectors
    beside them.

    Raises:
        RunError: no experiment lies there, or one that cannot be read.
    """
    names = experiments_in(folder)
    if not names:
        raise RunError(
            f"{folder} holds no results of an experiment: --known names a folder with NAME.csv and NAME.json."
        )
    own = [name for name in names if name == asked.name or not asked.detectors]
    read = [read_results(folder, name) for name in own]
    known = [k for table, about in read if set(TRAINING) <= set(table) for k in _known(table, about)]  # not Table 3's
    if not asked.detectors:
        return known
    beside = read_detectors(folder, asked.name)
    judged = set() if beside is None else set(zip(beside["line"], beside["seed"], strict=True))
    return [k for k in known if (k.row["line"], k.row["seed"]) in judged]


def detectors_file(folder: str | Path, name: str) -> Path:
    """Where an experiment's detectors stand."""
    return Path(folder) / f"{name}_detectors.csv"


def read_detectors(folder: str | Path, name: str) -> pd.DataFrame | None:
    """What `detector_results` found, as it lies in a folder; None if it is not there.

    Raises:
        RunError: it cannot be read.
    """
    file = detectors_file(folder, name)
    return _read_csv(file) if file.exists() else None


def with_settings(results: pd.DataFrame) -> pd.DataFrame:
    """Results with the SCN settings of each row's recipe as columns, as `runs_in` has them: for the pictures of runs.

    A recipe of another version, which this one does not know, has none of them.

    >>> with_settings(pd.DataFrame({"recipe": ["plain", "paper:gamma=0.2"]}))[["rank", "gamma"]].values.tolist()
    [[False, 0.5], [True, 0.2]]
    """
    known = {name: _settings_of(name) for name in results["recipe"].unique()}
    settings = pd.DataFrame([known[name] for name in results["recipe"]], results.index)
    return results.join(settings[settings.columns.difference(results.columns, sort=False)])


def _settings_of(name: str) -> dict:
    try:
        return asdict(recipe(name).settings)
    except SettingsError:
        return {}


def write_results(out: Path, name: str, table: pd.DataFrame, about: dict) -> None:
    """Write a table of results as ``NAME.csv`` and ``NAME.parquet``, and its description as ``NAME.json``.

    Raises:
        RunError: they cannot be written.
    """
    text = table.assign(error=table["error"].astype("string")) if "error" in table else table
    try:
        out.mkdir(parents=True, exist_ok=True)
        replace_file(out / f"{name}.csv", lambda place: table.to_csv(place, index=False))
        replace_file(out / f"{name}.parquet", text.to_parquet)
        described = json.dumps(about, indent=1)
        write_whole(out / f"{name}.json", described)
    except OSError as error:
        raise RunError(f"{out} cannot be written ({error.strerror}): make room or choose another --out.") from error

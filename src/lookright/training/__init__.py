"""Runs: trained, resumed, evaluated."""

from lookright.training.map_similarity import map_similarity
from lookright.training.results import evaluate_run
from lookright.training.run import TrainedRun, load_run, resume, train
from lookright.training.run_data import RunData, load_data

__all__ = ["RunData", "TrainedRun", "evaluate_run", "load_data", "load_run", "map_similarity", "resume", "train"]

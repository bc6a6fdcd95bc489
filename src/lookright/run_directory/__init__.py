"""What lies in the directory of a run, of classifiers and agents alike."""

from lookright.run_directory.arrays_file import read_arrays
from lookright.run_directory.checkpoint import read_checkpoint, write_checkpoint
from lookright.run_directory.environment import environment
from lookright.run_directory.file_name import file_name
from lookright.run_directory.json_file import none_for_nan, read_json, write_json
from lookright.run_directory.lock import only_writer, require_empty
from lookright.run_directory.metrics_log import MetricsLog
from lookright.run_directory.settings_file import SettingsFile
from lookright.run_directory.weights import read_facts, read_weights, save_model

__all__ = [
    "MetricsLog",
    "SettingsFile",
    "environment",
    "file_name",
    "none_for_nan",
    "only_writer",
    "read_arrays",
    "read_checkpoint",
    "read_facts",
    "read_json",
    "read_weights",
    "require_empty",
    "save_model",
    "write_checkpoint",
    "write_json",
]

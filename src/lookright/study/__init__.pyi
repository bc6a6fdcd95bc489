from .config import Study, read_study
from .study import collect_results, planned_directories, run_study

__all__ = ["Study", "collect_results", "planned_directories", "read_study", "run_study"]

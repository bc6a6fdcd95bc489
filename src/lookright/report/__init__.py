"""What a study or a run found: one self-contained HTML page, or tables in Markdown."""

from lookright.report.page import write_report
from lookright.report.results_markdown import write_results

__all__ = ["write_report", "write_results"]

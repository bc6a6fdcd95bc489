"""One forward of any classifier gives logits, embedding and features."""

from lookright.classifier.classifier import Classifier, Output
from lookright.classifier.mode import evaluating, is_checkpointed
from lookright.classifier.route import Route

__all__ = ["Classifier", "Output", "Route", "evaluating", "is_checkpointed"]

"""The record of a review as one plain document, which the exporters turn into HTML, Markdown and JSON."""

from outweigh.report.document import review_document
from outweigh.report.facts import (
    ComparisonFacts,
    FactorUse,
    MeterFacts,
    ReviewCost,
    ReviewFacts,
    Role,
    Trace,
    TraceMark,
    VariantFacts,
)

__all__ = [
    "ComparisonFacts",
    "FactorUse",
    "MeterFacts",
    "ReviewCost",
    "ReviewFacts",
    "Role",
    "Trace",
    "TraceMark",
    "VariantFacts",
    "review_document",
]

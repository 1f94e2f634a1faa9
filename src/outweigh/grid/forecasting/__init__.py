"""Forecasts of carbon intensity and price from the user's own history, where a provider has none."""

from outweigh.grid.forecasting.fitting import (
    CONFIDENCE,
    MAX_REACH_H,
    MIN_HISTORY_DAYS,
    Forecaster,
    Method,
    fit,
    fit_until,
    forecast,
)
from outweigh.grid.forecasting.skill import Errors, Skill, backtest

__all__ = [
    "CONFIDENCE",
    "MAX_REACH_H",
    "MIN_HISTORY_DAYS",
    "Errors",
    "Forecaster",
    "Method",
    "Skill",
    "backtest",
    "fit",
    "fit_until",
    "forecast",
]

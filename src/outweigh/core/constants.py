"""Exact constants. Every conversion in the project goes through one of these."""

J_PER_WH = 3_600.0
J_PER_KWH = 3_600_000.0
J_PER_MWH = 3_600_000_000.0
S_PER_MINUTE = 60.0
S_PER_HOUR = 3_600.0
S_PER_DAY = 86_400.0
# The mean Gregorian month: 365.2425 days / 12. Volumes and budgets "per month" use it, so that a
# budget does not move with the calendar; bills use real months.
S_PER_MONTH = 2_629_746.0
S_PER_YEAR = 31_556_952.0
G_PER_KG = 1_000.0
G_PER_TONNE = 1_000_000.0

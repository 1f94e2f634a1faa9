"""The REST API under /api/v1: receipts, budgets, verdicts, plans, tokens and the audit log; and /metrics."""

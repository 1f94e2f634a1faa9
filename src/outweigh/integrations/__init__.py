"""Thin doors for other people's programs: trainers, trackers, test runners, monitoring.

Each file imports its own framework, and none is imported here.
"""

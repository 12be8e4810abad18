"""The sections of a report, one file each, with the figure and the text around it.

A section whose files are missing says so and what to do; it never stops the report.
"""

"""The sections of a report, a file each: its figure, and what stands around it on the page.

A section whose files are missing says so and what to do; it never stops the report.
"""

"""The papers' tables: what they hold, what is trained for them, and what came out."""

"""Any video in, expressions over time out."""

"""The files that every finished unit has, besides its results."""

DONE = "DONE"
"""The last file that is written: the SHA-256 of the record. A folder without it is no finished unit."""
RECORD = "unit.json"
"""What the unit was made from, and the SHA-256 of every other file (``records``)."""

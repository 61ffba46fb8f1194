"""Work on circuits: pairs, edge scores and faithfulness of every stage, and comparisons of variants with the base."""

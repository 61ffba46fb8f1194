"""Work on answers: draw them, measure them, read them, and compare them with the base's."""

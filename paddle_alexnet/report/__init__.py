"""Pictures and pages of a finished or running run, drawn from its folder alone."""

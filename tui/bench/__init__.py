"""What the bench screen shows of runs: rows, one run, two compared. No widgets."""

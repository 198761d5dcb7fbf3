"""What measures speed and cost: ratios against a floor in the same run, never times by themselves."""

"""Whether the learning rate that the rule gives is a good one."""

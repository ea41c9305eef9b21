"""Figure 2: throughput against latency of a model and its pruned versions at growing batch sizes, as values and reports."""

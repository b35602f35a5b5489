"""The replayer: simulated gateways and engines that send a trace or workload through the loop."""

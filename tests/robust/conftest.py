collect_ignore = ["cluster.py", "kill.py", "memory.py", "reliability.py"]  # programs

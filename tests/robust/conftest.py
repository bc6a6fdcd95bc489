collect_ignore = ["kill.py", "memory.py", "reliability.py"]  # programs

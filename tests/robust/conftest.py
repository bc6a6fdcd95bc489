collect_ignore = ["kill.py", "memory.py"]  # programs

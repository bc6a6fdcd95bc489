collect_ignore = ["kill.py", "memory.py", "ray_nodes.py", "reliability.py"]  # programs

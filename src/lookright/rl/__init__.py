"""Agents that play from pixels: ViZDoom environments with masks, PPO with guidance, what an agent looks at."""

"""How many masks are likely enough: what was measured, each figure with its data."""

MEASURED = (
    "On 367 photographs of pets (CAMAL, five seeds) the share of attention in the masks rose from 29 % to 36, 41, 46 "
    "and 50 % with 5, 10, 20 and 40 masks; accuracy where the scenery misleads stayed at chance, a third.",
    "On 1920 images of creatures (CAMAL and Graft, three seeds) it rose from 31 % to 33, 35, 37 and 41 % with 19, 96, "
    "384 and all 1920; accuracy where the scenery misleads went from 70 % to 70, 71, 79 and 92 %.",
)
"""A sentence for each measurement."""

ENOUGH = " ".join(
    [
        *MEASURED,
        "So a few dozen masks move attention, and accuracy follows with hundreds. Yours may need more or fewer: train "
        "now and then, and go on while the change on held-out images is worth it.",
    ]
)
"""What the page says."""

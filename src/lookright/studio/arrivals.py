"""Images that came into the folder after `labels.csv` was written: they join it, or are told of."""

from lookright.data.image_folders import rows_of, unlisted_images
from lookright.errors import InputError, said_by_system
from lookright.studio.folder import StudioFolder


def join_arrivals(folder: StudioFolder) -> str:
    """Give rows to images that the table does not name, where folders tell what it says of the others.

    Returns:
        what was done, and how many images the table still does not name; empty where it names all.
    """
    unlisted = unlisted_images(folder.root, folder.table)
    rows = rows_of(unlisted, folder.root, folder.table)
    told = []
    if len(rows):
        try:
            folder.add_rows(rows)
            told.append(f"New images joined labels.csv, labelled by their folders: {_counted(rows['image'].tolist())}.")
        except (InputError, OSError) as error:
            rows = rows.iloc[:0]
            told.append(said_by_system(error) if isinstance(error, OSError) else str(error))
    left = sorted(set(unlisted) - set(rows["image"]))
    if left:
        told.append(f"Images that labels.csv does not name are not shown: {_counted(left)}. Add a row for each.")
    return " ".join(told)


def _counted(images: list[str]) -> str:
    return repr(images[0]) + (f" and {len(images) - 1} more" if len(images) > 1 else "")

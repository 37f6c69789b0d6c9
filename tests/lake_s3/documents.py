"""Documents made from a listing: parts of it, and the same cluster on another day."""

import json
import re
from datetime import datetime, timedelta

DAY = 24 * 3_600 * 10**9
# The time format in the names of listings.
OBSERVED = "%Y%m%dT%H%M%SZ"


def parts(listing, directory, size, step):
    """Documents of `size` allocations. One starts at every `step`th allocation, so they overlap if `step` < `size`."""
    allocations = json.loads(listing.read_bytes())
    made = []
    for first in range(0, len(allocations), step):
        path = directory / f"{listing.stem}-{first:03}.json"
        path.write_text(json.dumps(allocations[first : first + size]))
        made.append(path)
    return made


def on_another_day(listing, directory, days):
    """The listing with all times shifted by some days, and with other IDs of allocations and jobs."""
    text = listing.read_text()
    text = re.sub(r"\b\d{19}\b", lambda moment: str(int(moment[0]) + days * DAY), text)
    text = re.sub(r'("ID": *"|"JobID": *")', lambda field: f"{field[0]}{days:02}", text)
    observed = datetime.strptime(listing.stem, OBSERVED) + timedelta(days=days)
    path = directory / f"{observed.strftime(OBSERVED)}.json"
    path.write_text(text)
    return path

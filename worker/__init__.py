"""Takes tickets, makes cutouts and masks."""

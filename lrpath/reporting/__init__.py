"""Plans and results for people: text, tables, figures and the report of a study; no torch."""

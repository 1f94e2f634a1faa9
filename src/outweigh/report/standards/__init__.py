"""Reports in the forms that standards ask for: from receipts and declared facts to a sheet or to a format's own rows.

Each module names its standard and version, and what of it the receipts cannot answer.
"""

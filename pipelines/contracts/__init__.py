"""What each table is: columns, types, keys, grain, identifiers. Declarations only, no logic on data."""

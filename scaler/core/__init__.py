"""What every room speaks of: the words of the house, its errors, time, limits and logs."""

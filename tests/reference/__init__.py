"""Independent references in plain NumPy and SciPy, which the tests compare with."""

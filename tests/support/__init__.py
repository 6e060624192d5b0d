"""What the tests share: doors, worlds, samples, models, faults. No module here holds a test."""

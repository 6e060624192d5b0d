"""Search: parse -> plan -> run -> bundle. Only `run` reads the store; everything else is pure."""

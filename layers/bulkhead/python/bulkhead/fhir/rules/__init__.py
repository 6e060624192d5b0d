"""How `model.validation` checks: one small rule per element, compiled from the element tables and kept."""

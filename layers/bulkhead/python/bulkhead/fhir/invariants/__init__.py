"""R4's invariants: HL7's constraints, compiled on first use from the expressions in the definitions."""

"""Lists: their columns, filters, parameters and pages."""

"""The lab: applications, benchmark records, and boards that are shared."""

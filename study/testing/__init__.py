"""The contracts of methods, tasks and launchers, as checks that users run on their own."""

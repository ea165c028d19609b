"""Pictures of a study, each as PNG, PDF and a CSV of what it shows."""

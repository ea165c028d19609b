"""Pictures of a study, each as PNG, PDF, SVG and a CSV of what it shows; `look`: what users ask of them."""

"""What a sweep found: ``python -m attnflow.report FOLDER`` compares the runs in a folder."""

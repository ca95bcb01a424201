"""What surrounds a job: devices, locks, resources, logs, status."""

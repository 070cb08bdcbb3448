"""What people and programs ask: alerts, readiness, metrics."""

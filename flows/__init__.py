"""Orchestration only: the command line, the Prefect flows, and the record in git, DVC and MLflow. No arithmetic."""

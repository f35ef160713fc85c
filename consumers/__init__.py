"""The consumers that come with the project, each written as a stranger would write one."""

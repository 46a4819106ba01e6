"""Real servers for development and tests, without docker: see infra/README.md."""

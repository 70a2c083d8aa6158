"""Where the command line finds the check of two inputs."""

from ..limits.unshaped import check_pair

__all__ = ["check_pair"]

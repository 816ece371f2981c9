"""What every scenario of a comparison run needs."""

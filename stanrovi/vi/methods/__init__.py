"""The methods of variational inference, one a file, and the driver that runs them."""
